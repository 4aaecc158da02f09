"""A counting application for crash tests: `python -m shared.testing.counting …` is its worker.

Each record `{"id": …}` is counted once, whatever is killed when. The worker can kill itself at two
points, and it writes each delivery to a file that outlives it.
"""

import argparse
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from sqlalchemy import update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from shared.errors import BadInput
from shared.storage.engine import Database
from shared.storage.rows import insert_missing
from shared.storage.types import new_metadata
from shared.stream.records import Partition, Record, decode
from shared.stream.subscription import Subscription
from shared.stream.tables import stream_tables
from shared.stream.worker import run_worker, stop_on_signals


class Base(DeclarativeBase):
    """The tables of the counting application."""

    metadata = new_metadata()


class Counted(Base):
    """How often each id was counted: 1 is right."""

    __tablename__ = "counted"
    id: Mapped[str] = mapped_column(primary_key=True)
    times: Mapped[int]


class Total(Base):
    """One row that every transaction adds to."""

    __tablename__ = "total"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int]


TABLES = stream_tables(Base)


def create(url: str) -> Database:
    """Return the database at `url` with the tables and a total of 0."""
    db = Database(url, metadata=Base.metadata)
    Base.metadata.create_all(db.engine)
    with db.write() as session:
        insert_missing(session, Total, [{"name": "all", "value": 0}])
    return db


class CountingHandler:
    """Counts ids. `pace_s` stands for a model's time; `die_in_write` is the call that ends the process."""

    def __init__(self, deliveries: Path | None = None, *, pace_s: float = 0.0, die_in_write: int = 0) -> None:
        self._deliveries, self._pace_s, self._die_in_write = deliveries, pace_s, die_in_write
        self._writes = 0
        self.ticks = 0
        self.idle = 0

    def parse(self, record: Record) -> str:
        """Return the record's id."""
        found = decode(record.value).get("id")
        if not isinstance(found, str):
            raise BadInput(f"id is {found!r}; expected a text")
        self._note(f"{record.partition} {record.offset}")
        return found

    def prepare(self, items: list[str]) -> list[str]:
        """Return the ids after `pace_s`; refuse a batch that holds "spoiled"."""
        self._note("preparing")
        if "spoiled" in items:
            raise BadInput("the id 'spoiled' can't be prepared")
        if self._pace_s:
            time.sleep(self._pace_s)
        return items

    def write(self, session: Session, prepared: list[str]) -> None:
        """Count the ids and add them to the total."""
        insert_missing(session, Counted, [{"id": id_, "times": 0} for id_ in set(prepared)])
        for id_ in prepared:
            session.execute(update(Counted).where(Counted.id == id_).values(times=Counted.times + 1))
        session.execute(update(Total).where(Total.name == "all").values(value=Total.value + len(prepared)))
        self._writes += 1
        if self._writes == self._die_in_write:
            os.kill(os.getpid(), signal.SIGKILL)

    def tick(self, now: datetime) -> None:
        """Count the calls."""
        self.ticks += 1

    def on_idle(self) -> None:
        """Count the calls."""
        self.idle += 1

    def _note(self, what: str) -> None:
        if self._deliveries is not None:
            with self._deliveries.open("a", encoding="utf-8") as log:  # O_APPEND: one line at a time
                log.write(f"{os.getpid()} {what}\n")


class DyingSubscription(Subscription):
    """Ends the process at its n-th commit: after the database's commit, before Kafka's."""

    die_in_commit = 0
    _commits = 0

    def commit(self, nexts: Mapping[Partition, int]) -> None:
        """Commit, unless this is the call to die at."""
        self._commits += 1
        if self._commits == self.die_in_commit:
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit(nexts)


class TrustingSubscription(Subscription):
    """Reads from Kafka's committed offset instead of the given one, as a worker without the fence would."""

    def seek(self, partition: Partition, offset: int) -> None:
        """Go to what Kafka has for the group, at most once per partition; then to where we are sent."""
        committed = self.committed(partition)
        been = self.__dict__.setdefault("_been", set())
        super().seek(partition, offset if committed is None or partition in been else committed)
        been.add(partition)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one worker; its counters are the last line on stdout, as JSON."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "url", "topic", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--deliveries", type=Path, required=True)
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--die-in-write", type=int, default=0)
    parser.add_argument("--die-in-commit", type=int, default=0)
    parser.add_argument("--trust-kafka", action="store_true")
    parser.add_argument("--session-ms", type=int, default=2_000)
    parser.add_argument("--records", type=int, default=50)
    given = parser.parse_args(arguments)
    handler = CountingHandler(given.deliveries, pace_s=given.pace, die_in_write=given.die_in_write)
    kind = TrustingSubscription if given.trust_kafka else DyingSubscription
    subscription = kind(
        given.bootstrap,
        given.group,
        [given.topic],
        session_timeout_ms=given.session_ms,
        max_records=given.records,
    )
    if isinstance(subscription, DyingSubscription):
        subscription.die_in_commit = given.die_in_commit
    db = Database(given.url, metadata=Base.metadata)
    with stop_on_signals() as stop, subscription, db:
        counters = run_worker(
            subscription, handler, db, tables=TABLES, until_idle=True, stop=stop, idle_s=1.0
        )
    print(json.dumps(asdict(counters)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
