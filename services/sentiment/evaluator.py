"""The evaluator: one leased transaction closes windows up to the watermark and writes what that means."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import Session

from services.sentiment.alerts import Change, severity
from services.sentiment.counting import lock_evaluator
from services.sentiment.domain import ALL, Counts, Phase, Reason, State
from services.sentiment.evaluate import Board, Evaluation, Judged
from services.sentiment.notify import add_notice
from services.sentiment.store import (
    AlertRow,
    BucketRow,
    ExpectedRow,
    SeriesRow,
)
from services.sentiment.surge import Rules
from services.sentiment.why import why_of
from services.sentiment.windows import DAY, HOUR, to_time
from shared.storage.rows import insert_missing

# Constants in the text of the statement: PostgreSQL would take two parameters for two expressions.
_HOUR, _DAY = (BucketRow.start - BucketRow.start % literal_column(str(length)) for length in (HOUR, DAY))
_SEVERITIES = ("low", "medium", "high")


def close_windows(session: Session, until: datetime, rules: Rules, *, model: str) -> list[Judged]:
    """Close every window that ends by `until`, in order, and write states, alerts and notices.

    The caller holds the evaluator's lease. Closing the same windows again gives the same alerts.
    Returns the windows in which an alert changed.
    """
    row = lock_evaluator(session)
    row.watermark = until if row.watermark is None else max(row.watermark, until)
    end = int(row.watermark.timestamp()) // rules.step * rules.step
    if end <= row.closed:
        return []
    closed, row.closed = row.closed, end
    board = _board(session, closed, end, rules)
    evaluation = Evaluation(board, _states(session), rules)
    changed: list[Judged] = []
    expected: list[dict[str, Any]] = []
    learning: dict[str, bool] = {}
    for judged in evaluation.run(closed, end):
        learning[judged.series] = judged.verdict.reason is Reason.LEARNING
        if not learning[judged.series]:
            expected.append({"series": judged.series, "end": judged.end, "expected": judged.verdict.expected})
        if judged.event is not None:
            _write_alert(session, judged, rules, model)
            changed.append(judged)
    insert_missing(session, ExpectedRow, expected)
    _write_states(session, evaluation.states, learning)
    return changed


def last_end(session: Session, rules: Rules) -> datetime | None:
    """Return the end of the last window that holds an item, None before the first item."""
    newest = session.scalar(select(func.max(BucketRow.start)).where(BucketRow.series == ALL))
    return None if newest is None else to_time(newest + rules.window)


def _board(session: Session, closed: int, until: int, rules: Rules) -> Board:
    """Read the history by hours, and the buckets from the day of the oldest open window on."""
    first = select(func.min(BucketRow.start)).where(BucketRow.start >= closed - rules.window)
    oldest = (session.scalar(first) or until) // DAY * DAY
    board = Board()
    since = _history_start(session, oldest, rules)
    history = (
        select(BucketRow.series, _HOUR, *_sums())
        .where(BucketRow.start >= since, BucketRow.start < oldest)
        .group_by(BucketRow.series, _HOUR)
    )
    for series, start, count, negative, positive, score in session.execute(history):
        board.add_hour(series, int(start), Counts(int(count), int(negative), int(positive), float(score)))
    recent = select(
        BucketRow.series,
        BucketRow.start,
        BucketRow.count,
        BucketRow.negative,
        BucketRow.positive,
        BucketRow.score,
    ).where(BucketRow.start >= oldest, BucketRow.start < until)
    for series, start, count, negative, positive, score in session.execute(recent):
        board.add(series, start, Counts(count, negative, positive, score))
    return board


def _sums() -> list[Any]:
    columns = (BucketRow.count, BucketRow.negative, BucketRow.positive, BucketRow.score)
    return [func.sum(column) for column in columns]


def _history_start(session: Session, before: int, rules: Rules) -> int:
    """Return the start of the oldest of the newest `history_days` days that have items, before `before`."""
    days = (
        select(_DAY.label("day"))
        .where(BucketRow.series == ALL, BucketRow.start < before)
        .distinct()
        .order_by(_DAY.desc())
        .limit(rules.history_days)
        .subquery()
    )
    return int(session.scalar(select(func.min(days.c.day))) or before)


def _states(session: Session) -> dict[str, State]:
    rows = session.scalars(select(SeriesRow))
    return {row.name: _state_of(row.state) for row in rows}


def _state_of(kept: Mapping[str, Any]) -> State:
    excluded = tuple((int(start), int(end)) for start, end in kept["excluded"])
    return State(**{**kept, "phase": Phase(kept["phase"]), "excluded": excluded})


def _write_states(session: Session, states: Mapping[str, State], learning: Mapping[str, bool]) -> None:
    rows = {row.name: row for row in session.scalars(select(SeriesRow))}
    for name in sorted(learning):
        row = rows.get(name)
        if row is None:
            row = SeriesRow(name=name)
            session.add(row)
        row.learning, row.state = learning[name], asdict(states[name])


def _write_alert(session: Session, judged: Judged, rules: Rules, model: str) -> None:
    event, verdict = judged.event, judged.verdict
    assert event is not None  # noqa: S101 - the caller's condition
    row = session.get(AlertRow, event.alert)
    is_new = row is None
    if row is None:
        row = AlertRow(id=event.alert, series=judged.series, kind="topic", severity=_SEVERITIES[0], peak=0)
        row.opened, row.model = to_time(judged.state.opened), model
    if event.stronger or is_new:
        row.why = why_of(session, judged.series, judged.end, rules.window, verdict)
        found = severity(verdict.p_count, verdict.expected, verdict.counts.negative)
        row.severity = max(row.severity, found, key=_SEVERITIES.index)
    row.peak = max(row.peak, judged.state.peak)
    row.state = "resolved" if event.change is Change.RESOLVED else str(judged.state.phase)
    row.resolved = to_time(judged.end) if event.change is Change.RESOLVED else None
    session.add(row)
    session.flush()
    if event.change is not Change.UPDATED:
        add_notice(session, row, event.change, event.at)
