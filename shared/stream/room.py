"""What the embedded broker can still hold: it is bounded, and would drop the oldest records silently."""

from collections import Counter
from collections.abc import Callable, Iterable

from kafka import KafkaConsumer, TopicPartition

from shared.errors import TooLarge
from shared.stream.cluster import Cluster, addresses, options_for
from shared.stream.mock import PARTITION_BYTES, PARTITION_RECORDS

# A record that travels alone is a batch of its own: 61 bytes of batch head and some for lengths and times.
RECORD_OVERHEAD = 80


def held(bootstrap: str, cluster: Cluster, topic: str) -> tuple[Counter[int], Counter[int]]:
    """Return the records and the bytes that each partition of `topic` holds now."""
    records, size = Counter[int](), Counter[int]()
    consumer = KafkaConsumer(
        bootstrap_servers=addresses(bootstrap), enable_auto_commit=False, **options_for(cluster)
    )
    try:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consumer.end_offsets(parts)
        while any(consumer.position(part) < ends[part] for part in parts):
            for part, batch in consumer.poll(timeout_ms=500, max_records=5_000).items():
                records[part.partition] += len(batch)
                size[part.partition] += sum(_size(len(r.key or b""), len(r.value or b"")) for r in batch)
    finally:
        consumer.close()
    return records, size


def require_room(
    topic: str,
    records: Iterable[tuple[bytes, bytes]],
    partition_of: Callable[[bytes], int],
    already: tuple[Counter[int], Counter[int]],
) -> None:
    """Raise TooLarge unless these (key, value) pairs fit beside what is there `already`."""
    count, size = Counter(already[0]), Counter(already[1])
    for key, value in records:
        number = partition_of(key)
        count[number] += 1
        size[number] += _size(len(key), len(value))
    full = [n for n in size if size[n] > PARTITION_BYTES or count[n] > PARTITION_RECORDS]
    if full:
        worst = max(full, key=lambda n: size[n])
        raise TooLarge(
            f"partition {worst} of {topic} would hold {count[worst]:,} records of {size[worst]:,} bytes, "
            f"but the embedded broker keeps {PARTITION_RECORDS:,} records and {PARTITION_BYTES:,} bytes in "
            "memory and would drop the oldest. Nothing was sent. Use a real broker (`make kafka`, then set "
            "TRILLIUM_KAFKA__BOOTSTRAP), feed a shorter file, or start `trillium broker` anew: it is empty"
        )


def _size(key: int, value: int) -> int:
    return key + value + RECORD_OVERHEAD
