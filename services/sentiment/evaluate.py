"""Closing windows: every series, step by step in event time, through the pure rules."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from services.sentiment.alerts import Event, step
from services.sentiment.domain import ALL, Counts, Phase, Reason, State, Verdict
from services.sentiment.surge import Rules, Usual, judge, observed_days, usual
from services.sentiment.windows import DAY, HOUR, ends_to_close, window_sum


@dataclass
class Board:
    """What the evaluator reads: per series the counts by hour (its history) and by bucket (recent).

    The buckets begin with the day of the oldest window that is still open; their hours are in
    `hourly` as well.
    """

    hourly: dict[str, dict[int, Counts]] = field(default_factory=dict)
    buckets: dict[str, dict[int, Counts]] = field(default_factory=dict)

    def add(self, series: str, start: int, counts: Counts) -> None:
        """Add one bucket to both."""
        buckets = self.buckets.setdefault(series, {})
        buckets[start] = buckets.get(start, Counts()).plus(counts)
        self.add_hour(series, start // HOUR * HOUR, counts)

    def add_hour(self, series: str, start: int, counts: Counts) -> None:
        """Add to an hour of the history."""
        hours = self.hourly.setdefault(series, {})
        hours[start] = hours.get(start, Counts()).plus(counts)


@dataclass(frozen=True)
class Judged:
    """One closed window of one series."""

    series: str
    end: int
    verdict: Verdict
    state: State
    event: Event | None


class Evaluation:
    """Goes through the windows of a board in order. `states` is what each series was in, and is kept up."""

    def __init__(self, board: Board, states: Mapping[str, State], rules: Rules) -> None:
        self.states = dict(states)
        self._board, self._rules = board, rules
        self._days: dict[int, list[int]] = {}
        self._usual: dict[tuple[str, int, int], Usual | None] = {}

    def run(self, closed: int, until: int) -> Iterator[Judged]:
        """Yield every window that ends in (closed, until], by end, then series, `all` last.

        Windows in which no series has an item are skipped: no data neither alerts nor resolves.
        """
        starts = self._board.buckets.get(ALL, {})
        rules = self._rules
        for end in ends_to_close(starts, closed, until, rules.window, rules.step):
            yield from self._close(end)

    def usual(self, series: str, end: int) -> Usual | None:
        """Return what was usual for the window that ends at `end`: days that ended before it began.

        While an alert is open it stays what it was at its beginning, else the surge itself and its
        echo would become usual and hide the next one.
        """
        state = self.states.get(series, State())
        at = state.since if state.phase in (Phase.OPEN, Phase.RECOVERING) else end
        before = (at - self._rules.window) // DAY * DAY
        key = (series, before, len(state.excluded))
        if key not in self._usual:
            if before not in self._days:
                hours = self._board.hourly.get(ALL, {})
                self._days[before] = observed_days(hours, before, self._rules.history_days)
            hourly = self._board.hourly.get(series, {})
            self._usual[key] = usual(hourly, self._days[before], state.excluded, self._rules)
        return self._usual[key]

    def _close(self, end: int) -> Iterator[Judged]:
        explained, expected = Counts(), 0.0
        for series in sorted(name for name in self._board.buckets if name != ALL):
            found = self._one(series, end, self._window(series, end))
            yield found
            if found.state.phase is not Phase.QUIET:
                explained = explained.plus(found.verdict.counts)
                expected += found.verdict.expected
        yield self._whole(end, explained, expected)

    def _whole(self, end: int, explained: Counts, expected: float) -> Judged:
        counts = self._window(ALL, end)
        known = self.usual(ALL, end)
        verdict = judge(counts, end, known, self._rules)
        if verdict.surge and explained.count:
            # One surge, one alert: without the items of topics that have their own, is it still one?
            negative = max(0, counts.negative - explained.negative + round(expected))
            rest = Counts(max(negative, counts.count - explained.count), negative)
            if not judge(rest, end, known, self._rules).surge:
                verdict = replace(verdict, reason=Reason.EXPLAINED)
        return self._advance(ALL, end, verdict)

    def _one(self, series: str, end: int, counts: Counts) -> Judged:
        return self._advance(series, end, judge(counts, end, self.usual(series, end), self._rules))

    def _advance(self, series: str, end: int, verdict: Verdict) -> Judged:
        state, event = step(series, self.states.get(series, State()), verdict, end, self._rules)
        self.states[series] = state
        return Judged(series, end, verdict, state, event)

    def _window(self, series: str, end: int) -> Counts:
        buckets = self._board.buckets.get(series, {})
        return window_sum(buckets, end, self._rules.window, self._rules.step)
