"""The worker loop over a log in memory: what is written, when, and what happens when something fails."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, event, func, select, update
from sqlalchemy.orm import Session

from shared.clock import SystemClock
from shared.errors import BadInput, Conflict, StorageFull, Unavailable
from shared.storage.engine import Database
from shared.stream.cluster import Cluster
from shared.stream.handler import Counters
from shared.stream.lease import Lease
from shared.stream.records import Partition, encode
from shared.stream.worker import run_worker
from shared.testing.counting import TABLES, Counted, CountingHandler, Total, create
from shared.testing.memory_log import MemoryLog, MemorySubscription

THINGS = Partition("app.things", 0)


def log_of(*ids: str, partitions: int = 1, cluster: Cluster | None = None) -> MemoryLog:
    log = MemoryLog("app.things", partitions, cluster)
    for number, id_ in enumerate(ids):
        log.append(encode({"id": id_}), id_, number % partitions)
    return log


def work(db: Database, log: MemoryLog, handler: CountingHandler | None = None, **options: Any) -> Counters:
    most = options.pop("max_records", 500)
    options.setdefault("wait", lambda seconds: None)
    return run_worker(
        MemorySubscription(log, most),
        handler or CountingHandler(),
        db,
        tables=TABLES,
        until_idle=True,
        idle_s=0,
        **options,
    )


def counted(db: Database) -> dict[str, int]:
    with db.read() as session:
        found = {row.id: row.times for row in session.scalars(select(Counted))}
        assert session.scalar(select(Total.value)) == sum(found.values())
    return found


def next_of(db: Database, log: MemoryLog) -> dict[Partition, int]:
    with db.read() as session:
        return TABLES.positions(session, log.cluster.id, [log.topic])


def test_each_record_is_counted_once_and_the_offset_moves_with_it(db: Database) -> None:
    log = log_of(*"abcdef", partitions=3)
    handler = CountingHandler()
    counters = work(db, log, handler)
    assert counted(db) == dict.fromkeys("abcdef", 1)
    assert next_of(db, log) == log.commits == dict.fromkeys(log.records, 2)
    assert (counters.processed, counters.lag, handler.idle) == (6, 0, 1)
    assert handler.ticks > 0


def test_a_second_run_reads_on_where_the_database_says(db: Database) -> None:
    log = log_of("a", "b")
    work(db, log)
    log.append(encode({"id": "c"}))
    log.commits.clear()  # Kafka's copy decides nothing
    assert work(db, log).processed == 1
    assert counted(db) == {"a": 1, "b": 1, "c": 1}


def test_an_empty_log_is_idle(db: Database) -> None:
    assert work(db, log_of()).processed == 0


def test_what_can_not_be_read_becomes_a_dead_letter_in_the_same_transaction(db: Database) -> None:
    log = log_of("a")
    for value in (None, b"\x00", b"{}", b"x" * 2_000_000):
        log.append(value, "bad\\xff")
    log.append(encode({"id": "b"}))
    counters = work(db, log)
    assert counted(db) == {"a": 1, "b": 1}
    assert (counters.processed, counters.dead) == (2, 4)
    with db.read() as session:
        letters = list(session.scalars(select(TABLES.dead_letters).order_by(TABLES.dead_letters.offset)))
    assert [(x.offset, len(x.value or b"")) for x in letters] == [(1, 0), (2, 1), (3, 2), (4, 2_000_000)]
    assert letters[0].value is None
    assert all(x.why and x.key == "bad\\xff" for x in letters)


def test_one_record_that_spoils_its_batch_is_found_and_buried_alone(db: Database) -> None:
    log = log_of("a", "b", "spoiled", "c", partitions=2)
    counters = work(db, log)
    assert counted(db) == {"a": 1, "b": 1, "c": 1}
    assert (counters.processed, counters.dead) == (3, 1)


class Meanwhile(CountingHandler):
    """While this one prepares its first batch, another worker writes some of it."""

    def __init__(self, other: Callable[[], Any]) -> None:
        super().__init__()
        self._other: Callable[[], Any] | None = other

    def prepare(self, items: list[str]) -> list[str]:
        other, self._other = self._other, None
        if other:
            other()
        return super().prepare(items)


@pytest.mark.parametrize("ahead", [1, 3, 5])
def test_the_fence_skips_what_another_worker_wrote_meanwhile(db: Database, ahead: int) -> None:
    log = log_of(*"abcde")

    def other() -> None:
        stop = threading.Event()

        class Some(CountingHandler):
            def write(self, session: Session, prepared: list[str]) -> None:
                super().write(session, prepared)
                stop.set()

        run_worker(MemorySubscription(log, ahead), Some(), db, tables=TABLES, stop=stop)

    counters = work(db, log, Meanwhile(other), max_records=3)
    assert counted(db) == dict.fromkeys("abcde", 1)
    assert counters.fenced == min(ahead, 3)


def test_what_a_restored_backup_lost_is_read_again(db: Database) -> None:
    log = log_of(*"abcd")

    def restore() -> None:  # an older state comes back while a batch is prepared
        with db.write() as session:
            session.execute(delete(Counted).where(Counted.id.in_(["a", "b"])))
            session.execute(update(Total).values(value=0))
            TABLES.move(session, log.cluster.id, {THINGS: 0}, SystemClock().now())

    work(db, log, max_records=2)
    with db.write() as session:
        session.execute(delete(Counted).where(Counted.id.in_(["c", "d"])))
        session.execute(update(Total).values(value=2))
        TABLES.move(session, log.cluster.id, {THINGS: 2}, SystemClock().now())
    work(db, log, Meanwhile(restore))
    assert counted(db) == dict.fromkeys("abcd", 1)


def test_records_that_retention_took_are_counted_as_a_gap(db: Database) -> None:
    log = log_of("a", "b")
    work(db, log)
    for id_ in "cdef":
        log.append(encode({"id": id_}))
    log.delete_before(4)
    counters = work(db, log)
    assert (counters.gaps, counters.processed) == (2, 2)
    assert counted(db) == {"a": 1, "b": 1, "e": 1, "f": 1}


def test_a_first_read_of_a_log_that_lost_its_start_has_no_gap(db: Database) -> None:
    log = log_of("a", "b")
    log.delete_before(1)
    counters = work(db, log)
    assert (counters.gaps, counters.processed) == (0, 1)


def other_broker(log: MemoryLog) -> None:
    log.cluster = Cluster("another", embedded=False)


def topic_made_anew(log: MemoryLog) -> None:
    log.topic_id = "second"
    log.records[THINGS] = log.records[THINGS][:1]
    log.append(b"no JSON either")


def topic_emptied(log: MemoryLog) -> None:
    log.topic_id = ""  # an old broker has no ids
    log.records[THINGS] = log.records[THINGS][:1]


@pytest.mark.parametrize("change, letters", [(other_broker, 2), (topic_made_anew, 2), (topic_emptied, 1)])
def test_what_is_not_the_log_from_before_is_refused_until_it_is_accepted(
    db: Database, change: Callable[[MemoryLog], None], letters: int
) -> None:
    log = log_of("a", "b")
    log.records[THINGS][1] = replace(log.records[THINGS][1], value=b"no JSON")
    work(db, log)
    change(log)
    with pytest.raises(Conflict, match="--accept-new-broker"):
        work(db, log)
    assert counted(db) == {"a": 1}
    work(db, log, accept_new_broker=True)
    assert counted(db) == {"a": 2}  # read again from its first record: ids are the application's to know
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(TABLES.dead_letters)) == letters
    work(db, log)


def test_each_start_of_an_embedded_broker_begins_at_0_and_leaves_no_old_rows(db: Database) -> None:
    work(db, log_of("a", "b", cluster=Cluster("embedded-1", embedded=True)))
    work(db, log_of("c", cluster=Cluster("embedded-2", embedded=True)))
    assert counted(db) == {"a": 1, "b": 1, "c": 1}
    with db.read() as session:
        assert list(session.scalars(select(TABLES.offsets.cluster))) == ["embedded-2"]


class Flaky(CountingHandler):
    """Fails in the transaction a few times, after it wrote."""

    def __init__(self, times: int, error: Exception) -> None:
        super().__init__()
        self._times, self._error = times, error

    def write(self, session: Session, prepared: list[str]) -> None:
        super().write(session, prepared)
        session.flush()
        self._times -= 1
        if self._times >= 0:
            raise self._error


def test_a_part_that_is_away_is_waited_for_longer_each_time(db: Database) -> None:
    waits: list[float] = []
    counters = work(db, log_of("a", "b"), Flaky(3, Unavailable("away")), wait=waits.append)
    assert waits == [0.5, 1.0, 2.0]
    assert (counters.retries, counters.processed) == (3, 2)
    assert counted(db) == {"a": 1, "b": 1}


def test_a_batch_job_says_at_last_why_it_can_not_go_on(db: Database) -> None:
    with pytest.raises(Unavailable, match="away"):
        work(db, log_of("a"), Flaky(99, Unavailable("away")))


def test_a_full_disk_stops_it_at_once_and_loses_nothing(db: Database) -> None:
    log = log_of("a", "b")
    with pytest.raises(StorageFull):
        work(db, log, Flaky(1, StorageFull("full")))
    assert counted(db) == {}
    work(db, log)
    assert counted(db) == {"a": 1, "b": 1}


def test_a_full_sqlite_file_stops_it_with_what_to_do(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'full.sqlite'}"
    create(url).close()
    log = MemoryLog("app.things")
    for number in range(200):
        log.append(encode({"id": f"{number:05}" * 40}))
    with Database(url, max_pages=30) as full, pytest.raises(StorageFull, match="Free space"):
        work(full, log, max_records=20)
    with Database(url) as again:
        work(again, log)
        assert set(counted(again).values()) == {1}
        assert len(counted(again)) == 200


def test_a_locked_sqlite_file_is_waited_for(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'locked.sqlite'}"
    with create(url) as mine, create(url) as other:
        mine.close()  # new connections wait for 5 ms, not for 10 s
        event.listen(mine.engine, "connect", lambda c, _: c.execute("PRAGMA busy_timeout=5"))
        blocker = other.write()
        blocker.__enter__()
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                blocker.__exit__(None, None, None)

        work(mine, log_of("a"), wait=wait)
        assert len(waits) == 2
        assert counted(mine) == {"a": 1}


def test_a_stop_lets_the_batch_end_and_reads_no_further(db: Database) -> None:
    log = log_of(*"abcdef")
    stop = threading.Event()

    class Stopping(CountingHandler):
        def prepare(self, items: list[str]) -> list[str]:
            stop.set()
            return items

    run_worker(MemorySubscription(log, 2), Stopping(), db, tables=TABLES, stop=stop)
    assert counted(db) == {"a": 1, "b": 1}
    assert log.commits == {THINGS: 2}


def test_a_fault_of_the_program_is_not_hidden(db: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        work(db, log_of("a"), Flaky(1, ZeroDivisionError()))
    assert counted(db) == {}


def test_a_dead_letter_keeps_the_reason_of_any_text(db: Database) -> None:
    class Strange(CountingHandler):
        def parse(self, record: Any) -> str:
            raise BadInput("nul \x00 and half \ud800")

    work(db, log_of("a"), Strange())
    with db.read() as session:
        assert session.scalar(select(TABLES.dead_letters.why)) == "nul \\x00 and half \\ud800"
        assert session.scalar(select(func.count()).select_from(TABLES.dead_letters)) == 1


def test_of_two_holders_one_has_the_lease_until_it_ends(db: Database) -> None:
    now, ttl = SystemClock().now(), timedelta(seconds=30)
    one, two = (Lease(TABLES.leases, "evaluator", holder, ttl) for holder in ("one", "two"))
    for lease, seconds, held in [
        (one, 0, True),
        (two, 1, False),
        (one, 20, True),  # extended to 50
        (two, 49, False),
        (two, 50, True),
        (one, 51, False),
    ]:
        with db.write() as session:
            assert lease.hold(session, now + timedelta(seconds=seconds)) is held
    with db.write() as session:
        one.release(session)
        assert not one.hold(session, now)
        two.release(session)
        assert one.hold(session, now)


def test_a_lease_of_an_undone_transaction_was_never_held(db: Database) -> None:
    now, ttl = SystemClock().now(), timedelta(seconds=30)
    one, two = (Lease(TABLES.leases, "evaluator", holder, ttl) for holder in ("one", "two"))
    with db.write() as session:
        assert one.hold(session, now)
        session.rollback()
    with db.write() as session:
        assert two.hold(session, now)
