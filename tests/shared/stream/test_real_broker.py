"""What only a real broker does: topics that are made anew, retention, transactions, refusals."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from shared.clock import SystemClock
from shared.errors import Conflict, NotFound, Unavailable, UsageError
from shared.storage.engine import Database
from shared.stream.cluster import describe
from shared.stream.handler import Counters
from shared.stream.kafka_jars import find_jars, prepare
from shared.stream.kafka_local import LocalKafka
from shared.stream.publisher import Publisher
from shared.stream.subscription import Subscription
from shared.stream.topics import end_offsets, ensure_topics
from shared.stream.worker import run_worker
from shared.testing.counting import TABLES, CountingHandler, create

_numbers = itertools.count(1)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    with create(f"sqlite:///{tmp_path}/test.sqlite") as db:
        yield db


@pytest.fixture
def topic(kafka_bootstrap: str) -> str:
    name = f"real.things{next(_numbers)}-{os.getpid()}"
    ensure_topics(kafka_bootstrap, [name], 2)
    return name


@pytest.fixture
def admin(kafka_bootstrap: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    yield client
    client.close()


def feed(bootstrap: str, topic: str, *ids: str) -> None:
    with Publisher(bootstrap) as publisher:
        for id_ in ids:
            publisher.send(topic, id_, {"id": id_})


def work(bootstrap: str, topic: str, db: Database, **options: bool) -> Counters:
    with Subscription(bootstrap, f"{topic}.readers", [topic]) as subscription:
        return run_worker(
            subscription, CountingHandler(), db, tables=TABLES, until_idle=True, idle_s=0.1, **options
        )


@pytest.mark.kafka
def test_it_is_known_as_a_real_one_and_has_the_partitions_that_were_asked(
    kafka_bootstrap: str, topic: str
) -> None:
    assert not describe(kafka_bootstrap).embedded
    assert len(end_offsets(kafka_bootstrap, topic)) == 2
    ensure_topics(kafka_bootstrap, [topic], 9)  # it is there already
    assert len(end_offsets(kafka_bootstrap, topic)) == 2


@pytest.mark.kafka
def test_a_topic_that_was_made_anew_is_refused(
    kafka_bootstrap: str, topic: str, admin: KafkaAdminClient, sqlite: Database
) -> None:
    feed(kafka_bootstrap, topic, "a", "b")
    assert work(kafka_bootstrap, topic, sqlite).processed == 2
    admin.delete_topics([topic])
    ensure_topics(kafka_bootstrap, [topic], 2)
    feed(kafka_bootstrap, topic, "c")
    with pytest.raises(Conflict, match="made anew"):
        work(kafka_bootstrap, topic, sqlite)
    assert work(kafka_bootstrap, topic, sqlite, accept_new_broker=True).processed == 1


@pytest.mark.kafka
def test_deleted_records_are_counted_as_a_gap(
    kafka_bootstrap: str, topic: str, admin: KafkaAdminClient, sqlite: Database
) -> None:
    feed(kafka_bootstrap, topic, "a")
    work(kafka_bootstrap, topic, sqlite)
    feed(kafka_bootstrap, topic, *(f"id{n}" for n in range(20)))
    (tp, end) = max(
        (TopicPartition(p.topic, p.number), e) for p, e in end_offsets(kafka_bootstrap, topic).items()
    )
    admin.delete_records({tp: end - 1})
    counters = work(kafka_bootstrap, topic, sqlite)
    assert counters.gaps > 0
    assert counters.processed + counters.gaps == 20


@pytest.mark.kafka
def test_the_markers_of_transactions_do_not_keep_a_batch_job_from_its_end(
    kafka_bootstrap: str, topic: str, sqlite: Database
) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=f"{topic}.writer")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, key=b"a", value=b'{"v":1,"id":"a"}')
    producer.commit_transaction()
    producer.close()
    counters = work(kafka_bootstrap, topic, sqlite)
    assert (counters.processed, counters.lag) == (1, 0)
    with sqlite.read() as session:
        rows = TABLES.positions(session, describe(kafka_bootstrap).id, [topic])
    assert rows == end_offsets(kafka_bootstrap, topic)


@pytest.mark.kafka
def test_another_real_broker_is_refused(kafka_bootstrap: str, topic: str, sqlite: Database) -> None:
    with sqlite.write() as session:
        row = TABLES.offsets()
        row.cluster, row.topic, row.partition, row.topic_id, row.next = "another", topic, 0, "", 7
        row.updated = SystemClock().now()
        session.add(row)
    with pytest.raises(Conflict, match="another"):
        work(kafka_bootstrap, topic, sqlite)


@pytest.mark.kafka
def test_a_port_in_use_and_an_unknown_topic_are_told(kafka_bootstrap: str, topic: str) -> None:
    port = int(kafka_bootstrap.rpartition(":")[2])
    with pytest.raises(Conflict, match="--port"):
        LocalKafka(Path("unused"), port=port).start()
    with pytest.raises(NotFound, match=r"no\.such"):
        Subscription(kafka_bootstrap, "g", ["no.such"]).open()


def test_the_jars_are_found_where_they_are(tmp_path: Path) -> None:
    assert find_jars(tmp_path, {}) is None
    libs = tmp_path / "kafka" / "libs"
    libs.mkdir(parents=True)
    (libs / "kafka_2.13-4.3.1.jar").touch()
    assert find_jars(tmp_path, {}) == libs
    assert find_jars(tmp_path / "else", {"KAFKA_HOME": str(tmp_path / "kafka")}) == libs
    with pytest.raises(UsageError, match="KAFKA_HOME"):
        find_jars(tmp_path, {"KAFKA_HOME": str(tmp_path)})


def test_without_java_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(Unavailable, match="Java 17 or newer and Maven"):
        prepare(tmp_path)
