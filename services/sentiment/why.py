"""Why an alert: the numbers of the window that decided, and the most negative items in it."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.sentiment.domain import ALL, Verdict
from services.sentiment.store import ItemRow, TopicRow
from services.sentiment.windows import to_time
from shared.clock import to_text

HEADLINES = 5


def why_of(session: Session, series: str, end: int, window: int, verdict: Verdict) -> dict[str, Any]:
    """Return the `why` of an alert as JSON, in the form of `contract.Why`."""
    counts = verdict.counts
    return {
        "text": sentence(verdict),
        "end": to_text(to_time(end)),
        "count": counts.count,
        "negative": counts.negative,
        "expected": round(verdict.expected, 2),
        "share": round(counts.negative / max(1, counts.count), 4),
        "usual_share": round(verdict.usual_share, 4),
        "p_count": verdict.p_count,
        "p_share": verdict.p_share,
        "p": min(verdict.p_count, verdict.p_share),
        "headlines": [_headline(row) for row in _worst(session, series, end, window)],
    }


def sentence(verdict: Verdict) -> str:
    """Return the numbers in words."""
    counts = verdict.counts
    return (
        f"{counts.negative} of {counts.count} items are negative; usual at this hour of the week are "
        f"{verdict.expected:.1f}, and a share of {verdict.usual_share:.0%}"
    )


def _worst(session: Session, series: str, end: int, window: int) -> list[ItemRow]:
    query = select(ItemRow).where(ItemRow.ts >= to_time(end - window), ItemRow.ts < to_time(end))
    if series != ALL:
        query = query.join(TopicRow, TopicRow.item_id == ItemRow.id).where(TopicRow.topic == series)
    query = query.where(ItemRow.label == "negative")
    return list(session.scalars(query.order_by(ItemRow.negative.desc(), ItemRow.id).limit(HEADLINES)))


def _headline(row: ItemRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "ts": to_text(row.ts),
        "title": row.title,
        "source": row.source,
        "url": row.url,
        "negative": round(row.negative, 4),
    }
