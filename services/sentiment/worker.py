"""The worker's steps: parse, score outside the transaction, write inside it; then the leased evaluator."""

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.sentiment.app import SentimentApp
from services.sentiment.counting import count_items
from services.sentiment.domain import Article, Scored
from services.sentiment.evaluator import close_windows, last_end
from services.sentiment.incoming import article_of
from services.sentiment.notify import Channel, send_notices
from services.sentiment.store import TABLES, ProgressRow
from services.sentiment.windows import Progress, watermark
from shared.stream.lease import Lease
from shared.stream.records import Partition, Record, decode
from shared.stream.tables import DeadLetter
from shared.telemetry import logger

ITEMS_TOPIC, DEAD_LETTERS_TOPIC, GROUP = "sentiment.items", "sentiment.dead-letters", "sentiment"
LEASE, LEASE_TTL = "evaluator", timedelta(seconds=30)
EVERY = timedelta(seconds=1)  # between looks at the watermark; a window closes every few minutes
_LOG = logger(__name__)


@dataclass(frozen=True)
class Arrived:
    """An article and the record that it came in."""

    record: Record
    article: Article


@dataclass(frozen=True)
class Prepared:
    """A batch, scored; row i of `scored` came in row i of `arrived`."""

    arrived: Sequence[Arrived]
    scored: Sequence[Scored]


class ItemHandler:
    """The steps for records of the items topic; see `shared.stream.handler.Handler`.

    `cluster` keys the rows of this broker, `partitions` are all of the topic. `ends` gives where
    partitions end now: one that was read to its end and stays silent holds the watermark back no longer.
    """

    def __init__(
        self,
        app: SentimentApp,
        cluster: str,
        partitions: Iterable[Partition],
        ends: Callable[[Iterable[Partition]], dict[Partition, int]],
        *,
        channel: Channel | None = None,
        holder: str | None = None,
    ) -> None:
        self._app, self._cluster, self._ends, self._channel = app, cluster, ends, channel
        self._partitions = sorted(partitions)
        self._lease = Lease(
            TABLES.leases, LEASE, holder or f"{socket.gethostname()}:{os.getpid()}", LEASE_TTL
        )
        self._next_look: datetime | None = None

    def parse(self, record: Record) -> Arrived:
        """Read one record; raises BadInput, such as for a broken date."""
        return Arrived(record, article_of(decode(record.value), self._app.clock.now()))

    def prepare(self, items: list[Arrived]) -> Prepared:
        """Score the batch with the live model."""
        _, scorer = self._app.live.current()
        return Prepared(items, scorer.score([one.article for one in items]))

    def write(self, session: Session, prepared: Prepared) -> None:
        """Write items and counts; those that are too late become dead letters with that reason."""
        rules, now = self._app.own, self._app.clock.now()
        step = int(rules.step.total_seconds())
        tally = count_items(session, prepared.scored, now, step=step, horizon=rules.horizon)
        records = {one.article.id: one.record for one in prepared.arrived}
        letters = [DeadLetter(records[one.article.id], self._too_late(one)) for one in tally.too_late]
        TABLES.bury(session, self._cluster, letters, now)
        self._note_progress(session, prepared.arrived, now)

    def _too_late(self, one: Scored) -> str:
        hours = self._app.own.horizon_hours
        return f"too late: its time {one.article.ts.isoformat()} is more than {hours} hours behind the stream"

    def _note_progress(self, session: Session, arrived: Sequence[Arrived], now: datetime) -> None:
        newest: dict[int, datetime] = {}
        for one in arrived:
            number, ts = one.record.partition, one.article.ts
            newest[number] = max(newest.get(number, ts), ts)
        for number, ts in sorted(newest.items()):
            row = session.get(ProgressRow, (self._cluster, number))
            if row is None:
                session.add(ProgressRow(cluster=self._cluster, partition=number, newest=ts, read=now))
            else:
                row.newest, row.read = max(row.newest or ts, ts), now

    def tick(self, now: datetime) -> None:
        """Hold the lease and close what the watermark has passed; others do it while they hold it."""
        if self._next_look is not None and now < self._next_look:
            return
        self._next_look = now + EVERY
        idle = self._idle(now)
        with self._app.db.write() as session:
            if not self._lease.hold(session, now):
                return
            moment = watermark(self._progress(session, idle), self._app.own.grace)
            if moment is not None:
                self._close(session, min(moment, now))
        self._send()

    def on_idle(self) -> None:
        """Close every window that holds an item, send all notices, and give the lease back."""
        with self._app.db.write() as session:
            if not self._lease.hold(session, self._app.clock.now()):
                return
            end = last_end(session, self._app.rules)
            if end is not None:
                self._close(session, end)
            self._lease.release(session)
        self._send()

    def stop(self) -> None:
        """Give the lease back, so that another worker need not wait for its end."""
        with self._app.db.write() as session:
            self._lease.release(session)

    def _close(self, session: Session, until: datetime) -> None:
        for judged in close_windows(session, until, self._app.rules, model=self._app.model_name()):
            _LOG.info("alert", series=judged.series, change=str(judged.event and judged.event.change))

    def _send(self) -> None:
        if self._channel is not None:
            send_notices(self._app.db, self._channel, self._app.clock)

    def _progress(self, session: Session, idle: set[int]) -> list[Progress]:
        query = select(ProgressRow).where(ProgressRow.cluster == self._cluster)
        newest = {row.partition: row.newest for row in session.scalars(query)}
        return [Progress(newest.get(p.number), p.number in idle) for p in self._partitions]

    def _idle(self, now: datetime) -> set[int]:
        """Return the partitions that were silent for `idle_s` and have nothing left to read."""
        silent_since = now - timedelta(seconds=self._app.own.idle_s)
        with self._app.db.read() as session:
            query = select(ProgressRow).where(ProgressRow.cluster == self._cluster)
            read = {row.partition: row.read for row in session.scalars(query)}
            nexts = TABLES.positions(session, self._cluster, [ITEMS_TOPIC])
        silent = [p for p in self._partitions if read.get(p.number, silent_since) <= silent_since]
        if not silent:
            return set()
        ends = self._ends(silent)
        return {p.number for p in silent if nexts.get(p, 0) >= ends[p]}
