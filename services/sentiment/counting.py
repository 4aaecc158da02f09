"""Writing scored items and their counts: each item counts once, a correction moves its counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from services.sentiment.domain import Counts, Scored
from services.sentiment.store import BucketRow, EvaluatorRow, FeedRow, ItemRow, TopicRow
from services.sentiment.windows import bucket_of
from shared.storage.rows import in_batches, insert_missing

EVALUATOR = "main"


@dataclass
class Tally:
    """What a batch changes: counts by (series, bucket), items by source, topics anew, and what came of it."""

    counts: dict[tuple[str, int], Counts] = field(default_factory=dict)
    sources: dict[str, tuple[int, datetime, datetime]] = field(default_factory=dict)
    items: int = 0
    late: int = 0
    duplicates: int = 0
    corrections: int = 0
    too_late: list[Scored] = field(default_factory=list)

    def count(self, series: Iterable[str], bucket: int, counts: Counts, times: int) -> None:
        """Add to (or with -1 take from) a bucket of these series."""
        for name in series:
            self.counts[name, bucket] = self.counts.get((name, bucket), Counts()).plus(counts, times)

    def saw(self, source: str, ts: datetime) -> None:
        """Note one more item of a source."""
        count, first, last = self.sources.get(source, (0, ts, ts))
        self.sources[source] = (count + 1, min(first, ts), max(last, ts))


def lock_evaluator(session: Session) -> EvaluatorRow:
    """Return the one row that every writer locks first.

    Whether an item is late is then decided against windows that nobody closes at the same moment,
    and two writers never wait for each other in a circle.
    """
    query = select(EvaluatorRow).where(EvaluatorRow.name == EVALUATOR).with_for_update()
    row = session.scalar(query)
    if row is None:
        zero = dict.fromkeys(("closed", "items", "late", "too_late", "duplicates", "corrections"), 0)
        insert_missing(session, EvaluatorRow, [{"name": EVALUATOR, **zero}])
        row = session.scalars(query).one()
    return row


def count_items(
    session: Session, scored: Sequence[Scored], arrived: datetime, *, step: int, horizon: timedelta
) -> Tally:
    """Write these items, in order, and the counts of their series; returns what came of them.

    The same id with the same text is a duplicate and changes nothing; with another text it is a
    correction: its old counts are taken away. An item in a closed window is late and counts all the
    same; one more than `horizon` behind the watermark is too late: it is returned, not written.
    """
    evaluator = lock_evaluator(session)
    known = _known(session, [one.article.id for one in scored])
    tally, fresh = Tally(), dict[str, ItemRow]()
    for one in scored:
        old = known.get(one.article.id)
        if old is not None and old.text_hash == one.article.text_hash:
            tally.duplicates += 1
            continue
        if old is None and _is_too_late(one.article.ts, evaluator.watermark, horizon):
            tally.too_late.append(one)
            continue
        bucket = bucket_of(one.article.ts, step)
        late = bucket + step <= evaluator.closed
        if old is None:
            tally.items += 1
            tally.late += late
            tally.saw(one.article.source, one.article.ts)
            known[one.article.id] = old = ItemRow(id=one.article.id)
            session.add(old)
        else:
            tally.corrections += 1
            tally.count(("all", *old.topics), bucket_of(old.ts, step), _counts_of(old), -1)
        _fill(old, one, arrived, late=late)
        fresh[old.id] = old
        tally.count(one.series, bucket, _counts_of(old), 1)
    session.flush()
    _write_topics(session, fresh)
    _write_counts(session, tally.counts)
    _write_sources(session, tally.sources)
    _add_up(evaluator, tally)
    return tally


def _is_too_late(ts: datetime, watermark: datetime | None, horizon: timedelta) -> bool:
    return watermark is not None and ts < watermark - horizon


def _known(session: Session, ids: Sequence[str]) -> dict[str, ItemRow]:
    found: dict[str, ItemRow] = {}
    for batch in in_batches(sorted(set(ids))):
        found |= {row.id: row for row in session.scalars(select(ItemRow).where(ItemRow.id.in_(batch)))}
    return found


def _fill(row: ItemRow, one: Scored, arrived: datetime, *, late: bool) -> None:
    article = one.article
    row.ts, row.title, row.text = article.ts, article.title, article.text
    row.source, row.url, row.text_hash = article.source, article.url, article.text_hash
    row.label, row.probabilities = one.label, dict(one.probabilities)
    row.negative = one.probabilities["negative"]
    row.topics, row.model, row.late, row.arrived = list(one.series[1:]), one.model, late, arrived


def _counts_of(row: ItemRow) -> Counts:
    score = row.probabilities["positive"] - row.probabilities["negative"]
    return Counts(1, int(row.label == "negative"), int(row.label == "positive"), score)


def _write_topics(session: Session, rows: Mapping[str, ItemRow]) -> None:
    for batch in in_batches(sorted(rows)):
        session.execute(delete(TopicRow).where(TopicRow.item_id.in_(batch)))
    insert_missing(
        session,
        TopicRow,
        [{"item_id": row.id, "topic": topic, "ts": row.ts} for row in rows.values() for topic in row.topics],
    )


def _write_counts(session: Session, counts: Mapping[tuple[str, int], Counts]) -> None:
    rows = [
        {
            "series": series,
            "start": start,
            "count": found.count,
            "negative": found.negative,
            "positive": found.positive,
            "score": found.score,
        }
        for (series, start), found in sorted(counts.items(), key=lambda pair: pair[0])
    ]
    for batch in in_batches(rows):
        new = _insert(session, BucketRow).values(list(batch))
        sums = {
            name: getattr(BucketRow, name) + new.excluded[name]
            for name in ("count", "negative", "positive", "score")
        }
        session.execute(new.on_conflict_do_update(index_elements=["series", "start"], set_=sums))


def _write_sources(session: Session, sources: Mapping[str, tuple[int, datetime, datetime]]) -> None:
    for source, (count, first, last) in sorted(sources.items()):
        row = session.get(FeedRow, source)
        if row is None:
            session.add(FeedRow(source=source, count=count, first=first, last=last))
        else:
            row.count, row.first, row.last = row.count + count, min(row.first, first), max(row.last, last)


def _insert(session: Session, model: type[Any]) -> Any:
    # The two dialects' own INSERTs know ON CONFLICT; the common one doesn't.
    kind = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    return kind.insert(model)


def _add_up(evaluator: EvaluatorRow, tally: Tally) -> None:
    evaluator.items += tally.items
    evaluator.late += tally.late
    evaluator.too_late += len(tally.too_late)
    evaluator.duplicates += tally.duplicates
    evaluator.corrections += tally.corrections


def totals(session: Session) -> dict[str, tuple[int, int, int | None]]:
    """Return per series its items, negatives and the start of its newest bucket."""
    query = select(
        BucketRow.series,
        func.sum(BucketRow.count),
        func.sum(BucketRow.negative),
        func.max(BucketRow.start),
    ).group_by(BucketRow.series)
    return {
        series: (int(count), int(negative), last) for series, count, negative, last in session.execute(query)
    }
