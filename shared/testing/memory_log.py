"""A log in memory and a subscription to it: real offsets and groups of one, no broker."""

from collections.abc import Iterable, Mapping, Sequence

from shared.stream.cluster import Cluster
from shared.stream.records import Partition, Record
from shared.stream.subscription import Batch, Polled, Subscription


class MemoryLog:
    """One topic. It keeps all records until `delete_before`; `commits` is what a group committed."""

    def __init__(self, topic: str, partitions: int = 1, cluster: Cluster | None = None) -> None:
        self.topic = topic
        self.cluster = cluster or Cluster("memory-1", embedded=False)
        self.topic_id = "first"
        self.records: dict[Partition, list[Record]] = {Partition(topic, n): [] for n in range(partitions)}
        self.begins = dict.fromkeys(self.records, 0)
        self.commits: dict[Partition, int] = {}

    def append(self, value: bytes | None, key: str | None = None, partition: int = 0) -> Record:
        """Add one record and return it."""
        part = Partition(self.topic, partition)
        offset = self.begins[part] + len(self.records[part])
        record = Record(self.topic, partition, offset, key, value, 0)
        self.records[part].append(record)
        return record

    def delete_before(self, offset: int, partition: int = 0) -> None:
        """Delete the records below `offset`, as retention does."""
        part = Partition(self.topic, partition)
        self.records[part] = [r for r in self.records[part] if r.offset >= offset]
        self.begins[part] = offset

    def end(self, partition: Partition) -> int:
        """Return the offset of the next record."""
        return self.begins[partition] + len(self.records[partition])


class MemorySubscription(Subscription):
    """Reads a MemoryLog, at most `max_records` of a partition at a time; all partitions are its own."""

    def __init__(self, log: MemoryLog, max_records: int = 500) -> None:
        super().__init__(None, "memory", [log.topic], max_records=max_records)
        self._log, self._most = log, max_records
        self._at: dict[Partition, int] = {}
        self._unplaced = set(log.records)
        self._assigned = 1

    def open(self) -> None:
        """Do nothing: it is open."""

    def close(self) -> None:
        """Do nothing."""

    @property
    def cluster(self) -> Cluster:
        """The log's identity."""
        return self._log.cluster

    @property
    def rebalances(self) -> int:
        """How often the partitions were assigned."""
        return self._assigned

    def topic_ids(self) -> dict[str, str]:
        """Return the log's topic id."""
        return {self._log.topic: self._log.topic_id}

    def poll(self, timeout_s: float) -> Polled:
        """Return what there is, at once."""
        unplaced: dict[Partition, Sequence[int]] = dict.fromkeys(sorted(self._unplaced), ())
        batches = [
            b for p in sorted(self._at) if p not in self._unplaced and (b := self._next(p)) is not None
        ]
        return Polled(tuple(batches), {p: tuple(o) for p, o in unplaced.items()})

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from `offset`."""
        self._at[partition] = offset
        self._unplaced.discard(partition)

    def unplace(self, partitions: Iterable[Partition] | None = None) -> None:
        """Forget these positions."""
        self._unplaced |= set(self._log.records if partitions is None else partitions)

    def commit(self, nexts: Mapping[Partition, int]) -> None:
        """Keep the offsets in the log."""
        self._log.commits.update(nexts)

    def committed(self, partition: Partition) -> int | None:
        """Return what was committed."""
        return self._log.commits.get(partition)

    def begin_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return where the partitions begin."""
        return {p: self._log.begins[p] for p in partitions}

    def end_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return where the partitions end."""
        return {p: self._log.end(p) for p in partitions}

    def partitions(self) -> list[Partition]:
        """Return all partitions."""
        return sorted(self._log.records)

    def _next(self, partition: Partition) -> Batch | None:
        start = self._at[partition]
        found = [r for r in self._log.records[partition] if r.offset >= start][: self._most]
        if not found:
            return None
        self._at[partition] = found[-1].offset + 1
        return Batch(partition, start, found[-1].offset + 1, tuple(found))
