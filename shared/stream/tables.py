"""The tables that a stream worker keeps in its application's database, beside that application's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    delete,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, declared_attr, mapped_column

from shared.storage.rows import insert_missing
from shared.storage.types import UtcDateTime
from shared.stream.records import Partition, Record

TOPIC_LENGTH = 249  # Kafka's own limit
# A worker that is frozen inside its transaction would keep the rows locked for all the others.
FROZEN_MS = 30_000


class OffsetRow:
    """Mixin: the next offset to write of one partition of one cluster. This row is the truth."""

    cluster: Mapped[str] = mapped_column(String(100), primary_key=True)
    topic: Mapped[str] = mapped_column(String(TOPIC_LENGTH), primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    topic_id: Mapped[str] = mapped_column(String(40))  # "" where the broker has none
    next: Mapped[int] = mapped_column(BigInteger)
    updated: Mapped[datetime] = mapped_column(UtcDateTime)


class DeadLetterRow:
    """Mixin: a record that could not be used, whole, and why."""

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    cluster: Mapped[str] = mapped_column(String(100))
    topic: Mapped[str] = mapped_column(String(TOPIC_LENGTH))
    partition: Mapped[int]
    offset: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str | None] = mapped_column(Text)
    value: Mapped[bytes | None] = mapped_column(LargeBinary)
    why: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> Any:
        return (UniqueConstraint("cluster", "topic", "partition", "offset"),)


class LeaseRow:
    """Mixin: who may do what only one process may do, until when."""

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    holder: Mapped[str] = mapped_column(String(200))
    expires: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True)
class DeadLetter:
    """One record that could not be used, and why."""

    record: Record
    why: str


@dataclass(frozen=True)
class StreamTables:
    """The three mapped classes of one application, and what a worker does with the first two."""

    offsets: type[OffsetRow]
    dead_letters: type[DeadLetterRow]
    leases: type[LeaseRow]

    def positions(self, session: Session, cluster: str, topics: Iterable[str]) -> dict[Partition, int]:
        """Return the next offset of every partition of `topics` that has one."""
        row = self.offsets
        query = select(row.topic, row.partition, row.next).where(
            row.cluster == cluster, row.topic.in_(list(topics))
        )
        return {Partition(topic, number): next_ for topic, number, next_ in session.execute(query)}

    def lock(self, session: Session, cluster: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Lock the rows of these partitions and return their next offsets; missing ones are left out.

        The order is the same for all workers, so that none waits for another in a circle.
        """
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {FROZEN_MS}"))
        row, found = self.offsets, {}
        for partition in sorted(partitions):
            query = select(row.next).where(
                row.cluster == cluster, row.topic == partition.topic, row.partition == partition.number
            )
            next_ = session.scalar(query.with_for_update())
            if next_ is not None:
                found[partition] = next_
        return found

    def add_positions(
        self,
        session: Session,
        cluster: str,
        starts: Mapping[Partition, int],
        ids: Mapping[str, str],
        now: datetime,
    ) -> None:
        """Write first positions; those that another worker wrote already stay."""
        rows = [
            {
                "cluster": cluster,
                "topic": p.topic,
                "partition": p.number,
                "topic_id": ids.get(p.topic, ""),
                "next": start,
                "updated": now,
            }
            for p, start in sorted(starts.items())
        ]
        if rows:
            insert_missing(session, self.offsets, rows)

    def move(self, session: Session, cluster: str, nexts: Mapping[Partition, int], now: datetime) -> None:
        """Set the next offset of these partitions, which the caller holds locked."""
        for partition, next_ in nexts.items():
            row = session.get(self.offsets, (cluster, partition.topic, partition.number))
            if row is None:
                raise LookupError(f"no position of {partition}")
            row.next, row.updated = next_, now

    def known(self, session: Session, topics: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return each (cluster, topic, topic id) that has a position."""
        row = self.offsets
        query = select(row.cluster, row.topic, row.topic_id).where(row.topic.in_(topics)).distinct()
        return [(c, t, i) for c, t, i in session.execute(query)]

    def forget(self, session: Session, topics: Sequence[str], *, cluster_prefix: str, but: str) -> None:
        """Delete the positions of clusters whose id starts so, all but cluster `but`."""
        row = self.offsets
        session.execute(
            delete(row).where(
                row.topic.in_(topics),
                row.cluster.startswith(cluster_prefix, autoescape=True),
                row.cluster != but,
            )
        )

    def retire(self, session: Session, cluster: str, topic: str, now: datetime) -> None:
        """Set the dead letters of a topic that ended apart: its offsets come again, with other records."""
        row = self.dead_letters
        session.execute(
            update(row)
            .where(row.cluster == cluster, row.topic == topic)
            .values(cluster=f"{cluster[:60]}~until {now:%Y-%m-%dT%H:%M:%SZ}")
        )

    def drop(self, session: Session, cluster: str, topic: str, topic_id: str) -> None:
        """Delete the positions of one topic of one cluster."""
        row = self.offsets
        session.execute(
            delete(row).where(row.cluster == cluster, row.topic == topic, row.topic_id == topic_id)
        )

    def bury(self, session: Session, cluster: str, letters: Iterable[DeadLetter], now: datetime) -> None:
        """Write dead letters, one for each record. What a text column can't keep in `why` is escaped."""
        for letter in {(x.record.topic, x.record.partition, x.record.offset): x for x in letters}.values():
            row, record = self.dead_letters(), letter.record
            row.cluster, row.topic, row.partition = cluster, record.topic, record.partition
            row.offset, row.key, row.value = record.offset, record.key, record.value
            row.why = letter.why.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
            row.at = now
            session.add(row)


def stream_tables(base: type[DeclarativeBase], prefix: str = "stream_") -> StreamTables:
    """Declare `<prefix>offsets`, `<prefix>dead_letters` and `<prefix>leases` on an application's base."""

    def declare(name: str, mixin: type[Any]) -> type[Any]:
        words = "".join(word.title() for word in f"{prefix}{name}".split("_"))
        made = type(words, (mixin, base), {"__tablename__": f"{prefix}{name}", "__module__": base.__module__})
        return cast(type[Any], made)

    return StreamTables(
        declare("offsets", OffsetRow), declare("dead_letters", DeadLetterRow), declare("leases", LeaseRow)
    )
