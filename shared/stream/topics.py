"""Topics: made when missing, described, measured."""

from collections.abc import Iterable, Mapping

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import TopicAlreadyExistsError

from shared.errors import NotFound
from shared.stream.cluster import Cluster, addresses, admin, describe, options_for, reaching
from shared.stream.records import Partition


def ensure_topics(bootstrap: str, topics: Iterable[str], partitions: int) -> None:
    """Make the topics that are missing, with `partitions` each; existing ones stay as they are.

    One replica per partition is asked for on a single broker, else the broker's default. The
    embedded broker makes a topic with 4 partitions at its first use, whatever `partitions` says.
    Raises Unavailable when no broker answers.
    """
    cluster = describe(bootstrap)
    if cluster.embedded:
        _touch(bootstrap, cluster, topics)
        return
    with admin(bootstrap) as client:
        there = set(client.list_topics())
        for name in topics:
            if name not in there:
                try:
                    client.create_topics({name: {"num_partitions": partitions}}, wait_for_metadata=True)
                except TopicAlreadyExistsError:
                    continue  # made by another process in between


def _touch(bootstrap: str, cluster: Cluster, topics: Iterable[str]) -> None:
    with reaching(bootstrap):
        producer = KafkaProducer(bootstrap_servers=addresses(bootstrap), **options_for(cluster))
        try:
            for name in topics:
                producer.partitions_for(name)
        finally:
            producer.close()


def topic_ids(bootstrap: str, topics: Iterable[str]) -> dict[str, str]:
    """Return each topic's id, which changes when it is deleted and made again; "" where there is none."""
    if describe(bootstrap).embedded:
        return dict.fromkeys(topics, "")
    with admin(bootstrap) as client:
        found = client.describe_topics(list(topics))
    return {str(topic["name"]): str(topic.get("topic_id") or "") for topic in found}


def end_offsets(bootstrap: str, topic: str) -> Mapping[Partition, int]:
    """Return the end (the offset of the next record) of each partition. Raises NotFound, Unavailable."""
    with reaching(bootstrap):
        consumer = KafkaConsumer(
            bootstrap_servers=addresses(bootstrap),
            enable_auto_commit=False,
            **options_for(describe(bootstrap)),
        )
        try:
            numbers = consumer.partitions_for_topic(topic)
            if not numbers:
                raise NotFound(f"there is no topic {topic!r} at {bootstrap}; feed it first")
            ends = consumer.end_offsets([TopicPartition(topic, number) for number in numbers])
        finally:
            consumer.close()
    return {Partition(tp.topic, tp.partition): int(offset) for tp, offset in ends.items()}
