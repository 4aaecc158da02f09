"""From verdicts to alerts: quiet, pending, open, recovering, resolved. Pure; times are window ends."""

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

from services.sentiment.domain import Phase, State, Verdict
from services.sentiment.surge import Rules
from services.sentiment.windows import to_time
from shared.clock import to_text

KEPT_SPANS = 50


class Change(StrEnum):
    """What happened to an alert; a notice is written for all but `updated`."""

    OPENED = "opened"
    REOPENED = "reopened"
    UPDATED = "updated"
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Event:
    """A change of alert `alert` at window end `at`; `stronger` says that this window is its worst so far."""

    change: Change
    alert: str
    at: int
    stronger: bool = False


def alert_id(series: str, since: int) -> str:
    """Return the id of the alert of `series` whose first window ended at `since`: a replay gives the same."""
    return hashlib.sha256(f"{series}|{to_text(to_time(since))}".encode()).hexdigest()[:16]


def step(series: str, state: State, verdict: Verdict, end: int, rules: Rules) -> tuple[State, Event | None]:
    """Return the state after the window that ends at `end`, and what happened to its alert.

    A surge must hold for `rules.hold` windows to open an alert. Two thresholds keep it from
    flapping: it is over only after `rules.recover` windows that are calm, and a surge within the
    cool-down after that opens the old alert again.
    """
    if state.phase in (Phase.QUIET, Phase.PENDING):
        after, event = _before(series, state, verdict, end, rules)
    else:
        after, event = _during(state, verdict, end, rules)
    return replace(after, last=end), event


def _before(
    series: str, state: State, verdict: Verdict, end: int, rules: Rules
) -> tuple[State, Event | None]:
    if not verdict.surge:
        return replace(state, phase=Phase.QUIET, hits=0, peak=0, p=1.0), None
    # Windows on both sides of a hole in the stream are not in a row.
    first = state.phase is Phase.QUIET or end - state.last > rules.step
    state = replace(
        state,
        phase=Phase.PENDING,
        hits=1 if first else state.hits + 1,
        since=end if first else state.since,
        peak=max(0 if first else state.peak, verdict.counts.negative),
        p=min(1.0 if first else state.p, verdict.p_count),
    )
    if state.hits < rules.hold:
        return state, None
    again = bool(state.alert) and end - state.resolved <= rules.cooldown
    alert = state.alert if again else alert_id(series, state.since)
    opened = state.opened if again else end
    state = replace(state, phase=Phase.OPEN, alert=alert, opened=opened, calm=0)
    return state, Event(Change.REOPENED if again else Change.OPENED, alert, end, stronger=True)


def _during(state: State, verdict: Verdict, end: int, rules: Rules) -> tuple[State, Event | None]:
    if end - state.since > rules.longest:
        # What lasts so long is the new usual: it ends here, and its days count as history. If the stream
        # stood still in between it did not last, and they don't.
        lasted = end - state.last <= rules.cooldown
        spans = () if lasted else ((state.since - rules.window, state.last),)
        return _ended(state, end, spans), Event(Change.RESOLVED, state.alert, end)
    if verdict.calm and not verdict.surge:
        calm = state.calm + 1
        if calm >= rules.recover:
            span = (state.since - rules.window, end)
            return _ended(state, end, (span,)), Event(Change.RESOLVED, state.alert, end)
        before, state = state.phase, replace(state, phase=Phase.RECOVERING, calm=calm)
        return state, None if before is Phase.RECOVERING else Event(Change.UPDATED, state.alert, end)
    if not verdict.surge:
        return state, None  # between the thresholds: neither worse nor over
    stronger = verdict.p_count < state.p
    now = replace(
        state,
        phase=Phase.OPEN,
        calm=0,
        peak=max(state.peak, verdict.counts.negative),
        p=min(state.p, verdict.p_count),
    )
    changed = stronger or now.phase is not state.phase or now.peak > state.peak
    return now, Event(Change.UPDATED, state.alert, end, stronger) if changed else None


def _ended(state: State, end: int, spans: tuple[tuple[int, int], ...]) -> State:
    excluded = (*state.excluded, *spans)[-KEPT_SPANS:]
    return State(alert=state.alert, opened=state.opened, resolved=end, excluded=excluded)


def severity(p: float, expected: float, negative: int) -> str:
    """Return low, medium or high by how unlikely the worst window was and how far above the usual."""
    times = negative / max(expected, 0.5)
    if p < 1e-9 and times >= 5:
        return "high"
    return "medium" if p < 1e-6 and times >= 3 else "low"
