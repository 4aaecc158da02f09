"""What the API reads: pages by cursor, windows of a series, the state of the feeds."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from services.sentiment.domain import ALL, Counts
from services.sentiment.store import (
    TABLES,
    AlertRow,
    BucketRow,
    EvaluatorRow,
    ExpectedRow,
    FeedRow,
    ItemRow,
    SeriesRow,
    TopicRow,
)
from services.sentiment.windows import window_sum
from shared.clock import parse_time, to_text
from shared.errors import BadInput


def cursor_of(moment: datetime, id_: str) -> str:
    """Return the cursor of what follows this row."""
    return base64.urlsafe_b64encode(json.dumps([to_text(moment), id_]).encode()).decode().rstrip("=")


def read_cursor(text: str | None) -> tuple[datetime, str] | None:
    """Return where to go on, None for the start; raises BadInput for what is no cursor of ours."""
    if not text:
        return None
    try:
        moment, id_ = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return parse_time(moment)[0], str(id_)
    except (ValueError, TypeError, BadInput) as error:
        raise BadInput("next is no cursor of this list; take it from the answer before") from error


def _older(ts: Any, id_: Any, after: tuple[datetime, str] | None) -> list[ColumnElement[bool]]:
    return [] if after is None else [or_(ts < after[0], and_(ts == after[0], id_ < after[1]))]


def items_page(
    session: Session,
    *,
    topic: str | None,
    start: datetime | None,
    end: datetime | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[ItemRow]:
    """Return up to `limit` items with start <= ts < end, newest first, ties by id from high to low."""
    query: Select[tuple[ItemRow]] = select(ItemRow)
    ts: Any = ItemRow.ts
    id_: Any = ItemRow.id
    if topic is not None and topic != ALL:
        query = query.join(TopicRow, TopicRow.item_id == ItemRow.id).where(TopicRow.topic == topic)
        ts, id_ = TopicRow.ts, TopicRow.item_id
    if start is not None:
        query = query.where(ts >= start)
    if end is not None:
        query = query.where(ts < end)
    query = query.where(*_older(ts, id_, after)).order_by(ts.desc(), id_.desc())
    return list(session.scalars(query.limit(limit)))


def alerts_page(
    session: Session, *, state: str | None, after: tuple[datetime, str] | None, limit: int
) -> list[AlertRow]:
    """Return up to `limit` alerts, newest first, ties by id from high to low."""
    query = select(AlertRow).where(*_older(AlertRow.opened, AlertRow.id, after))
    if state is not None:
        query = query.where(AlertRow.state == state)
    return list(session.scalars(query.order_by(AlertRow.opened.desc(), AlertRow.id.desc()).limit(limit)))


def known_series(session: Session) -> set[str]:
    """Return the series that have counts."""
    return set(session.scalars(select(BucketRow.series).distinct()))


def is_learning(session: Session, series: str) -> bool:
    """Whether the evaluator still says that there is too little history."""
    row = session.get(SeriesRow, series)
    return row is None or row.learning


def points(
    session: Session, series: str, start: int, end: int, *, window: int, every: int, step: int
) -> list[tuple[int, Counts, float | None]]:
    """Return (end, counts, expected negatives) of the windows that end in (start, end], oldest first.

    Window ends are multiples of `every`. What is expected is known for closed windows of the rule's
    own length; for others the caller scales it.
    """
    rows = select(BucketRow).where(
        BucketRow.series == series, BucketRow.start > start - window, BucketRow.start < end
    )
    buckets = {
        row.start: Counts(row.count, row.negative, row.positive, row.score) for row in session.scalars(rows)
    }
    found = select(ExpectedRow.end, ExpectedRow.expected).where(
        ExpectedRow.series == series, ExpectedRow.end > start, ExpectedRow.end <= end
    )
    expected = {row.end: row.expected for row in session.execute(found)}
    first = (start // every + 1) * every
    return [
        (at, window_sum(buckets, at, window, step), expected.get(at)) for at in range(first, end + 1, every)
    ]


def feeds(session: Session) -> Sequence[FeedRow]:
    """Return every source, by name."""
    return list(session.scalars(select(FeedRow).order_by(FeedRow.source)))


def evaluator(session: Session) -> EvaluatorRow | None:
    """Return the present of the stream and its sums, None before the first item."""
    return session.scalar(select(EvaluatorRow))


def dead_letters(session: Session) -> int:
    """Return how many records were kept as dead letters, those that came too late included."""
    return int(session.scalar(select(func.count()).select_from(TABLES.dead_letters)) or 0)


def worker_alive(session: Session, now: datetime) -> bool:
    """Whether a worker holds the evaluator's lease."""
    rows = session.scalars(select(TABLES.leases))
    return any(row.expires > now for row in rows)


def is_quiet(row: FeedRow, now: datetime) -> bool:
    """Whether a source is silent for much longer than it usually is: 20 mean gaps, and at least 3 hours."""
    usual = (row.last - row.first) / max(1, row.count - 1)
    return now - row.last > max(timedelta(hours=3), 20 * usual)
