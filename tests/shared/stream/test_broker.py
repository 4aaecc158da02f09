"""The embedded broker: a process of its own, an id for each start, and bounds that are told."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from shared.errors import NotFound, TooLarge, Unavailable, UsageError
from shared.storage.engine import Database
from shared.stream.broker import EmbeddedBroker
from shared.stream.cluster import client_options, describe
from shared.stream.handler import Counters, export
from shared.stream.publisher import Publisher
from shared.stream.records import Partition
from shared.stream.subscription import Subscription
from shared.stream.topics import end_offsets, ensure_topics
from shared.stream.worker import run_worker
from shared.testing.counting import TABLES, CountingHandler, create


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    with create(f"sqlite:///{tmp_path}/test.sqlite") as db:
        yield db


def test_records_go_through_and_come_back_once(embedded_bootstrap: str, sqlite: Database) -> None:
    ensure_topics(embedded_bootstrap, ["once.things", "once.dead-letters"], 4)
    with Publisher(embedded_bootstrap) as publisher:
        for number in range(300):
            publisher.send("once.things", f"k{number}", {"id": f"k{number}"})
        publisher.send_bytes("once.things", b"bad", b"\xff" * 700_000)
    assert sum(end_offsets(embedded_bootstrap, "once.things").values()) == 301
    counters = Counters()
    with (
        Subscription(embedded_bootstrap, "once", ["once.things"]) as subscription,
        Publisher(embedded_bootstrap) as publisher,
    ):
        run_worker(
            subscription,
            CountingHandler(),
            sqlite,
            tables=TABLES,
            until_idle=True,
            idle_s=0.1,
            counters=counters,
            publisher=publisher,
            dead_letter_topic="once.dead-letters",
        )
        partitions = subscription.partitions()
        mirrored = {p: subscription.committed(p) for p in partitions}
    assert (counters.processed, counters.dead, counters.lag) == (300, 1, 0)
    assert mirrored == end_offsets(embedded_bootstrap, "once.things")
    assert sum(end_offsets(embedded_bootstrap, "once.dead-letters").values()) == 1


def test_each_start_has_an_id_of_its_own_and_the_topics_it_was_given() -> None:
    ids = set()
    for _ in range(2):
        with EmbeddedBroker(["own.topic"], partitions=7) as broker:
            cluster = describe(broker.bootstrap)
            ids.add(cluster.id)
            assert cluster.embedded
            assert client_options(broker.bootstrap)["api_version"] == (2, 3)
            assert len(end_offsets(broker.bootstrap, "own.topic")) == 7
            pid = broker.pid
        assert not psutil.pid_exists(pid)
    assert len(ids) == 2


def test_it_ends_when_the_process_that_started_it_is_killed() -> None:
    code = (
        "from shared.stream.broker import EmbeddedBroker\nbroker = EmbeddedBroker()\nbroker.start()\n"
        "print(broker.pid, flush=True)\ninput()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    broker = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    parent.stdin.close()
    assert broker.wait(timeout=10) in (0, None)


def test_a_feed_that_would_not_fit_is_refused_before_anything_is_sent() -> None:
    with EmbeddedBroker(["room.things"], partitions=2) as broker, Publisher(broker.bootstrap) as publisher:
        feed = [(f"k{n}", {"text": "x" * 10_000}) for n in range(900)]
        publisher.require_room("room.things", feed)
        with pytest.raises(TooLarge, match="make kafka"):
            publisher.require_room(
                "room.things", [*feed, *((f"more{n}", v) for n, (_, v) in enumerate(feed))]
            )
        for key, value in feed:
            publisher.send("room.things", key, value)
        publisher.flush()
        with pytest.raises(TooLarge, match="Nothing was sent"):  # what is there already counts
            publisher.require_room("room.things", feed)
        assert sum(end_offsets(broker.bootstrap, "room.things").values()) == 900


@pytest.mark.parametrize(
    "attempt",
    [
        lambda where: describe(where),
        lambda where: Publisher(where).send("a.b", "k", {}),
        lambda where: Subscription(where, "g", ["a.b"]).open(),
        lambda where: ensure_topics(where, ["a.b"], 1),
        lambda where: end_offsets(where, "a.b"),
    ],
)
def test_no_broker_is_one_clear_error(attempt: Callable[[str | None], object]) -> None:
    with pytest.raises(Unavailable, match="trillium broker"):
        attempt("127.0.0.1:1")
    with pytest.raises(Unavailable, match="TRILLIUM_KAFKA__BOOTSTRAP"):
        attempt(None)
    with pytest.raises(UsageError, match="host:port"):
        attempt("nonsense")


def test_a_missing_topic_is_told(embedded_bootstrap: str) -> None:
    with pytest.raises(NotFound, match=r"no\.such"):
        Subscription(embedded_bootstrap, "g", ["no.such"]).open()
    with pytest.raises(NotFound, match=r"no\.such"):
        end_offsets(embedded_bootstrap, "no.such")


def test_a_restarted_broker_is_read_from_its_start(sqlite: Database) -> None:
    for run in ("first", "second"):
        with EmbeddedBroker(["again.things"], partitions=1) as broker:
            with Publisher(broker.bootstrap) as publisher:
                publisher.send("again.things", run, {"id": run})
            with Subscription(broker.bootstrap, "again", ["again.things"]) as subscription:
                counters = run_worker(
                    subscription, CountingHandler(), sqlite, tables=TABLES, until_idle=True, idle_s=0.1
                )
            assert counters.processed == 1
            with sqlite.read() as session:
                rows = TABLES.positions(session, describe(broker.bootstrap).id, ["again.things"])
            assert rows == {Partition("again.things", 0): 1}


def test_counters_are_shown_as_metrics() -> None:
    registry = CollectorRegistry()
    export(Counters(processed=3, lag=7), "readers", registry)
    text = generate_latest(registry).decode()
    assert 'trillium_stream_processed_total{group="readers"} 3.0' in text
    assert 'trillium_stream_lag{group="readers"} 7.0' in text
