"""One batch becomes one transaction: results, dead letters and offsets together, each record once."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from shared.clock import Clock
from shared.errors import BadInput
from shared.storage.engine import Database
from shared.stream.handler import Counters, Handler
from shared.stream.records import Partition, Record
from shared.stream.subscription import Batch
from shared.stream.tables import DeadLetter, StreamTables

T = TypeVar("T")
P = TypeVar("P")


@dataclass
class Settled:
    """What became of some batches: the new offsets, the dead letters, the partitions to place again."""

    nexts: dict[Partition, int] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    misplaced: set[Partition] = field(default_factory=set)

    def add(self, other: "Settled") -> None:
        """Take over what became of further batches."""
        self.nexts.update(other.nexts)
        self.letters += other.letters
        self.misplaced |= other.misplaced


class _Moved(Exception):
    def __init__(self, rows: dict[Partition, int]) -> None:
        self.rows = rows


class Writer(Generic[T, P]):
    """Takes batches through parse, prepare and write, and moves the offsets in the same transaction."""

    def __init__(
        self,
        handler: Handler[T, P],
        db: Database,
        tables: StreamTables,
        cluster: str,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._handler, self._db, self._tables = handler, db, tables
        self._cluster, self._counters, self._clock = cluster, counters, clock

    def settle(self, batches: Sequence[Batch]) -> Settled:
        """Write these batches, at most one per partition. What another worker wrote meanwhile is skipped."""
        try:
            return self._fenced(batches)
        except BadInput:
            # Parsing passed, so one record spoils the others: find it by taking each alone.
            settled = Settled()
            for single in (single for batch in batches for single in _singles(batch)):
                if single.partition not in settled.misplaced:
                    settled.add(self._single(single))
            return settled

    def _single(self, single: Batch) -> Settled:
        try:
            return self._fenced([single])
        except BadInput as error:
            return self._fenced([single], refused=error.detail)

    def _fenced(self, batches: Sequence[Batch], refused: str | None = None) -> Settled:
        settled = Settled()
        while batches:
            try:
                done = self._attempt(batches, refused)
            except _Moved as moved:
                batches = self._trim(batches, moved.rows, settled)
                continue
            settled.add(done)
            break
        return settled

    def _attempt(self, batches: Sequence[Batch], refused: str | None) -> Settled:
        # 1. parse and prepare, outside the transaction  2. lock the offsets  3. the fence
        # 4. results, dead letters and offsets, committed together
        items, letters = self._parse([r for batch in batches for r in batch.records], refused)
        prepared = self._handler.prepare(items) if items else None
        nexts = {batch.partition: batch.end for batch in batches}
        now = self._clock.now()
        with self._db.write() as session:
            rows = self._tables.lock(session, self._cluster, nexts)
            if any(rows.get(batch.partition) != batch.start for batch in batches):
                raise _Moved(rows)
            if prepared is not None:
                self._handler.write(session, prepared)
            self._tables.bury(session, self._cluster, letters, now)
            self._tables.move(session, self._cluster, nexts, now)
        self._counters.processed += len(items)
        self._counters.dead += len(letters)
        self._counters.batches += 1
        return Settled(nexts, letters)

    def _parse(self, records: Sequence[Record], refused: str | None) -> tuple[list[T], list[DeadLetter]]:
        items: list[T] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                if refused is not None:
                    raise BadInput(refused)
                items.append(self._handler.parse(record))
            except BadInput as error:
                letters.append(DeadLetter(record, error.detail))
        return items, letters

    def _trim(self, batches: Sequence[Batch], rows: dict[Partition, int], settled: Settled) -> list[Batch]:
        """Return what is still to be written; a row below a batch's start means that records were missed."""
        kept = []
        for batch in batches:
            next_ = rows.get(batch.partition, -1)
            if next_ < batch.start:
                settled.misplaced.add(batch.partition)
                continue
            rest = tuple(record for record in batch.records if record.offset >= next_)
            self._counters.fenced += len(batch.records) - len(rest)
            if batch.end > next_:
                kept.append(replace(batch, start=next_, records=rest))
                continue
            settled.nexts[batch.partition] = next_  # Kafka's copy may be behind: its writer may have died
            if batch.end < next_:
                settled.misplaced.add(batch.partition)
        return kept


def _singles(batch: Batch) -> list[Batch]:
    """Cut a batch behind each of its records; the pieces cover the same offsets."""
    if not batch.records:
        return [batch]
    ends = [record.offset + 1 for record in batch.records]
    ends[-1:] = [batch.end]
    starts = [batch.start, *ends[:-1]]
    return [
        Batch(batch.partition, start, end, (record,))
        for record, start, end in zip(batch.records, starts, ends, strict=True)
    ]
