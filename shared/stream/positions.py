"""Where a worker reads on: the database says so, and a broker that can't be the same one is refused."""

from collections.abc import Mapping

from shared.clock import Clock
from shared.errors import Conflict
from shared.storage.engine import Database
from shared.stream.handler import Counters
from shared.stream.records import Partition
from shared.stream.subscription import Subscription
from shared.stream.tables import StreamTables
from shared.telemetry import logger

log = logger(__name__)
EMBEDDED = "embedded-"


class Positions:
    """Gives a subscription its positions from the database's rows."""

    def __init__(
        self,
        subscription: Subscription,
        db: Database,
        tables: StreamTables,
        counters: Counters,
        clock: Clock,
        *,
        accept_new_broker: bool = False,
    ) -> None:
        self._subscription, self._db, self._tables = subscription, db, tables
        self._counters, self._clock, self._accept = counters, clock, accept_new_broker
        self._ids: dict[str, str] = {}

    @property
    def cluster(self) -> str:
        """The key of this broker's rows."""
        return self._subscription.cluster.id

    def check_broker(self) -> None:
        """Raise Conflict when the rows are of another real broker, or of topics made anew since.

        Rows of an embedded broker's earlier starts are deleted: its records are gone with it.
        """
        topics, embedded = self._subscription.topics, self._subscription.cluster.embedded
        self._ids = self._subscription.topic_ids()
        with self._db.read() as session:
            known = self._tables.known(session, topics)
        strange = [] if embedded else [row for row in known if self._is_strange(*row)]
        if strange and not self._accept:
            raise Conflict(self._refusal(*strange[0]))
        if strange or any(c.startswith(EMBEDDED) and c != self.cluster for c, _, _ in known):
            with self._db.write() as session:
                self._tables.forget(session, topics, cluster_prefix=EMBEDDED, but=self.cluster)
                for cluster, topic, topic_id in strange:
                    self._tables.drop(session, cluster, topic, topic_id)
                    self._tables.retire(session, cluster, topic, self._clock.now())

    def place(self, unplaced: Mapping[Partition, tuple[int, ...]]) -> None:
        """Seek these partitions to their rows; new ones start at the first record there is.

        Raises Conflict when a partition ends before its row: the topic was made anew.
        """
        # 1. rows  2. the broker's range, read later than the rows: it can only have grown since
        with self._db.read() as session:
            rows = self._tables.positions(session, self.cluster, self._subscription.topics)
        begins = self._subscription.begin_offsets(unplaced)
        ends = self._subscription.end_offsets(unplaced)
        for partition in unplaced:
            next_ = rows.get(partition)
            if next_ is None or not begins[partition] <= next_ <= ends[partition]:
                next_ = self._settle(partition, begins[partition], ends[partition])
            self._counters.redelivered += sum(offset < next_ for offset in unplaced[partition])
            self._subscription.seek(partition, next_)
        self._counters.rebalances = self._subscription.rebalances

    def lag(self) -> tuple[int, tuple[int, ...]]:
        """Return the records that wait over all partitions, and where the partitions end."""
        partitions = self._subscription.partitions()
        with self._db.read() as session:
            rows = self._tables.positions(session, self.cluster, self._subscription.topics)
        begins = self._subscription.begin_offsets([p for p in partitions if p not in rows])
        ends = self._subscription.end_offsets(partitions)
        waiting = sum(max(0, ends[p] - rows.get(p, begins.get(p, 0))) for p in partitions)
        self._counters.lag = waiting
        return waiting, tuple(ends[p] for p in partitions)

    def count_gap(self, partition: Partition, expected: int) -> None:
        """Count the offsets from `expected` on that the broker has deleted."""
        lost = self._subscription.begin_offsets([partition])[partition] - expected
        if lost > 0:
            self._counters.gaps += lost
            log.warning("gap", partition=str(partition), expected=expected, lost=lost)

    def _settle(self, partition: Partition, begin: int, end: int) -> int:
        """Write the row of a partition that has none, or whose records are gone; return the next offset."""
        now = self._clock.now()
        with self._db.write() as session:
            self._tables.add_positions(session, self.cluster, {partition: begin}, self._ids, now)
            next_ = self._tables.lock(session, self.cluster, [partition])[partition]
            if next_ > end and not self._accept:
                raise Conflict(
                    f"{partition} ends at {end}, but {next_} was to be read next: the topic was made anew. "
                    + _WHAT_TO_DO
                )
            if begin <= next_ <= end:
                return next_
            self._tables.move(session, self.cluster, {partition: begin}, now)
            if next_ > end:
                self._tables.retire(session, self.cluster, partition.topic, now)
        if next_ < begin:
            self._counters.gaps += begin - next_
            log.warning("gap", partition=str(partition), expected=next_, lost=begin - next_)
        return begin

    def _is_strange(self, cluster: str, topic: str, topic_id: str) -> bool:
        if cluster.startswith(EMBEDDED):
            return False
        now = self._ids.get(topic, "")
        return cluster != self.cluster or bool(topic_id and now and topic_id != now)

    def _refusal(self, cluster: str, topic: str, topic_id: str) -> str:
        if cluster != self.cluster:
            came = f"broker {self.cluster} answers, but {topic} was read from broker {cluster} until now. "
        else:
            came = f"topic {topic} was deleted and made anew since it was last read ({topic_id}). "
        return came + _WHAT_TO_DO


_WHAT_TO_DO = (
    "Point TRILLIUM_KAFKA__BOOTSTRAP at the broker from before, or, if this one is to take its place, "
    "run the worker once with --accept-new-broker: it then reads from the first record there is"
)
