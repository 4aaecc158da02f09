"""Reading as a member of a consumer group, from positions that the caller gives."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import IllegalStateError, InvalidRequestError, KafkaError
from kafka.structs import OffsetAndMetadata

from shared.errors import NotFound, Unavailable
from shared.stream.cluster import Cluster, addresses, describe, options_for, reaching
from shared.stream.records import Partition, Record, key_text
from shared.stream.topics import topic_ids
from shared.telemetry import logger

log = logger(__name__)
# A poll that ends just when kafka-python has joined makes it join again, and the mock cluster lets that wait
# for the session's end: so the first poll there is long, and the session short.
EMBEDDED_SESSION_MS = 6_000
JOIN_S = 3.0
REJOIN_S = 0.1  # the mock cluster answers InvalidRequest while members come and go; it passes
COMMIT_MS = 5_000
OFFSETS_MS = 10_000


@dataclass(frozen=True)
class Batch:
    """What was read of one partition: all there is from `start` up to, not including, `end`.

    `records` may be fewer than `end - start`: markers of transactions and compacted records have
    offsets too.
    """

    partition: Partition
    start: int
    end: int
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Polled:
    """`batches` in order; `unplaced` partitions are ours but wait for `seek`, with what was dropped of each.

    `unplaced` maps to the offsets of records that came before the position was given.
    """

    batches: tuple[Batch, ...]
    unplaced: Mapping[Partition, tuple[int, ...]]


class _Flags(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Notes what was assigned. It runs on kafka-python's I/O thread, where an error would end poll()."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fresh: set[TopicPartition] = set()
        self.rebalances = 0

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        with self._lock:
            self._fresh |= set(assigned)
            self.rebalances += 1

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        with self._lock:
            self._fresh -= set(revoked)

    def add(self, partitions: Iterable[TopicPartition]) -> None:
        with self._lock:
            self._fresh |= set(partitions)

    def placed(self, partition: TopicPartition) -> None:
        with self._lock:
            self._fresh.discard(partition)

    def fresh(self) -> set[TopicPartition]:
        with self._lock:
            return set(self._fresh)


class Subscription:
    """A member of consumer group `group` on `topics`, which must exist.

    A partition that was just assigned yields nothing until `seek` gave it a position: Kafka's own
    committed offset is only a mirror of the caller's. One subscription per process; not for threads.
    """

    def __init__(
        self,
        bootstrap: str | None,
        group: str,
        topics: Iterable[str],
        *,
        session_timeout_ms: int = 45_000,
        max_records: int = 500,
    ) -> None:
        self.bootstrap = bootstrap
        self.group = group
        self.topics = tuple(topics)
        self._session_timeout_ms = session_timeout_ms
        self._max_records = max_records
        self._flags = _Flags()
        self._positions: dict[TopicPartition, int] = {}
        self._consumer: KafkaConsumer | None = None
        self._cluster: Cluster | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Join the group. Raises Unavailable without a broker, NotFound when a topic is missing."""
        where = addresses(self.bootstrap)
        self._cluster = describe(self.bootstrap)
        session_ms = self._session_timeout_ms
        if self._cluster.embedded:
            session_ms = min(session_ms, EMBEDDED_SESSION_MS)
        with reaching(",".join(where)):
            self._consumer = KafkaConsumer(
                bootstrap_servers=where,
                group_id=self.group,
                enable_auto_commit=False,  # the commit follows the database's
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=max(100, min(3_000, session_ms // 5)),
                max_poll_records=self._max_records,
                metrics_enabled=False,
                **options_for(self._cluster),
            )
            for topic in self.topics:
                if not self._consumer.partitions_for_topic(topic):
                    self.close()
                    raise NotFound(f"there is no topic {topic!r} at {self.bootstrap}; make it before reading")
            self._consumer.subscribe(topics=list(self.topics), listener=self._flags)

    def close(self) -> None:
        """Leave the group and close. Closing twice is no error."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close(autocommit=False)

    @property
    def cluster(self) -> Cluster:
        """The broker's identity; known once it is open."""
        if self._cluster is None:
            raise Unavailable("the subscription is not open")
        return self._cluster

    @property
    def rebalances(self) -> int:
        """How many assignments this member got."""
        return self._flags.rebalances

    def topic_ids(self) -> dict[str, str]:
        """Return the id of each topic, "" where the broker has none."""
        return topic_ids(str(self.bootstrap), self.topics)

    def poll(self, timeout_s: float) -> Polled:
        """Wait up to `timeout_s` for records and return them."""
        consumer = self._open()
        if self.cluster.embedded and not consumer.assignment():
            timeout_s = max(timeout_s, JOIN_S)
        try:
            found = consumer.poll(timeout_ms=int(timeout_s * 1000))
        except InvalidRequestError:
            time.sleep(REJOIN_S)
            found = {}
        ends = {tp: self._position(tp) for tp in consumer.assignment()}
        # Asked last: a partition that was taken and given back since the poll is fresh by now.
        fresh = self._flags.fresh()
        self._hold(fresh)
        dropped = {_ours(tp): tuple(r.offset for r in found.get(tp, ())) for tp in fresh}
        batches = [self._batch(tp, found.get(tp, []), end) for tp, end in ends.items() if tp not in fresh]
        return Polled(tuple(b for b in batches if b is not None), dropped)

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from `offset`; no error when the partition was taken from us in between."""
        consumer, tp = self._open(), _theirs(partition)
        try:
            consumer.seek(tp, offset)
            consumer.resume(tp)
        except (ValueError, AssertionError, KeyError, IllegalStateError):
            self._flags.placed(tp)
            return
        self._positions[tp] = offset
        self._flags.placed(tp)

    def unplace(self, partitions: Iterable[Partition] | None = None) -> None:
        """Forget the positions of these partitions (default: all of ours): they wait for `seek` again."""
        ours = self._open().assignment()
        self._flags.add(ours if partitions is None else ours & {_theirs(p) for p in partitions})

    def commit(self, nexts: Mapping[Partition, int]) -> None:
        """Tell Kafka the next offsets, for tools that watch the lag. A failure is only logged."""
        offsets = {_theirs(p): OffsetAndMetadata(offset, "", -1) for p, offset in nexts.items()}
        try:
            self._open().commit(offsets, timeout_ms=COMMIT_MS)
        except KafkaError as error:
            log.info("commit_not_mirrored", group=self.group, why=str(error))

    def committed(self, partition: Partition) -> int | None:
        """Return Kafka's copy of the group's offset, None before the first. Raises Unavailable."""
        with reaching(str(self.bootstrap)):
            found: int | None = self._open().committed(_theirs(partition), timeout_ms=OFFSETS_MS)
        return found

    def begin_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return the first offset that each partition still has. Raises Unavailable."""
        return self._offsets("beginning_offsets", partitions)

    def end_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return the offset after the last record of each partition. Raises Unavailable."""
        return self._offsets("end_offsets", partitions)

    def partitions(self) -> list[Partition]:
        """Return all partitions of the topics, those of other members too, sorted."""
        consumer = self._open()
        return sorted(Partition(t, n) for t in self.topics for n in consumer.partitions_for_topic(t))

    def _open(self) -> KafkaConsumer:
        if self._consumer is None:
            raise Unavailable("the subscription is not open")
        return self._consumer

    def _offsets(self, kind: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
        with reaching(str(self.bootstrap)):
            asked = [_theirs(p) for p in partitions]
            found: Mapping[TopicPartition, int] = (
                getattr(self._open(), kind)(asked, timeout_ms=OFFSETS_MS) if asked else {}
            )
        return {_ours(tp): int(offset) for tp, offset in found.items()}

    def _position(self, tp: TopicPartition) -> int | None:
        try:
            found: int | None = self._open().position(tp, timeout_ms=0)
        except KafkaError:
            return None
        return found

    def _hold(self, fresh: set[TopicPartition]) -> None:
        # Until they are placed they would only bring records that are dropped.
        for tp in fresh & self._open().assignment():
            try:
                self._open().pause(tp)
            except (ValueError, AssertionError, KeyError, IllegalStateError):
                continue  # taken from us in this moment

    def _batch(self, tp: TopicPartition, found: list[Any], position: int | None) -> Batch | None:
        start = self._positions.get(tp)
        if start is None or (found and found[0].offset < start):
            self._flags.add([tp])  # the position is not the one that was given: ask again
            return None
        end = max(position or 0, found[-1].offset + 1 if found else 0)
        if end <= start:
            return None
        self._positions[tp] = end
        return Batch(_ours(tp), start, end, tuple(_record(r) for r in found))


def _ours(tp: TopicPartition) -> Partition:
    return Partition(tp.topic, tp.partition)


def _theirs(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)


def _record(found: Any) -> Record:
    return Record(
        found.topic, found.partition, found.offset, key_text(found.key), found.value, found.timestamp
    )
