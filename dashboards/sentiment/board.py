"""What the live page shows, fetched in one go: alerts, the windows of each series, feeds, headlines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.sentiment.client import SentimentClient
from services.sentiment.contract import Alert, Health, Item, Series, Topic

EVERYTHING = "all"  # the series that always exists
MOST_ROWS = 10
HEADLINES = 12
CELLS = 48  # columns of the heat map at most
RECENT = 4  # the last quarter of a range says how a series stands now
LIVE_WITHIN = timedelta(minutes=15)  # a watermark older than that is a replay of the past
RANK = {"high": 0, "medium": 1, "low": 2}


@dataclass(frozen=True)
class Cell:
    """Items of one series in one window of time; `expected` negative ones, None while learning."""

    start: datetime
    end: datetime
    count: int
    negative: int
    expected: float | None


@dataclass(frozen=True)
class Row:
    """One series over the shown range, oldest cell first; a window without items has no cell."""

    series: str
    learning: bool
    cells: Sequence[Cell]

    @property
    def count(self) -> int:
        """Items in the range."""
        return sum(cell.count for cell in self.cells)

    @property
    def share(self) -> float | None:
        """Share of negative items in the range, 0 to 1; None without items."""
        return sum(cell.negative for cell in self.cells) / self.count if self.count else None

    @property
    def now(self) -> float | None:
        """The z-score of the range's last quarter; None while the series is learning."""
        return surprise(self.cells[-max(1, len(self.cells) // RECENT) :])


@dataclass(frozen=True)
class Board:
    """One look at the desk, taken at `at`. `now` is the watermark: during a replay it lies in the past."""

    at: datetime
    now: datetime
    replay: bool
    hours: int
    alerts: Sequence[Alert]
    rows: Sequence[Row]
    health: Health
    items: Sequence[Item]


def surprise(cells: Sequence[Cell]) -> float | None:
    """Return by how many deviations more negative items came than expected; None without an expectation.

    The number of negative items is binomial: `expected` of `count` deviates by the square root of
    expected * (1 - expected / count).
    """
    known = [cell for cell in cells if cell.expected is not None and cell.count]
    count = sum(cell.count for cell in known)
    if not count:
        return None
    expected = sum(cell.expected or 0.0 for cell in known)
    spread = math.sqrt(max(expected * (1 - min(expected / count, 1.0)), 0.25))
    return (sum(cell.negative for cell in known) - expected) / spread


def cells_of(answer: Series) -> list[Cell]:
    """Return the windows with items that lie side by side up to the newest (others overlap)."""
    if not answer.points:
        return []
    width, newest = timedelta(minutes=answer.window), answer.points[-1].end
    return [
        Cell(point.end - width, point.end, point.count, point.negative, point.expected)
        for point in answer.points
        if point.count and not (newest - point.end) % width
    ]


def width_of(hours: int, step: int) -> int:
    """Return the window in minutes, a multiple of `step`, that shows `hours` in at most CELLS columns."""
    return max(1, math.ceil(hours * 60 / CELLS / step)) * step


def fetch(api: SentimentClient, hours: int, wall: datetime | None = None) -> Board:
    """Return the board of the last `hours` before the watermark; raises what the service answers."""
    wall = wall or datetime.now(UTC)
    health = api.health()
    now = health.now or wall
    names = _busiest(api.topics().topics)
    start = now - timedelta(hours=hours)
    window = width_of(hours, api.series(EVERYTHING, start=now - timedelta(hours=1), end=now).step)
    rows = [_row(api, name, window, start, now) for name in names]
    alerts = sorted(
        api.alerts().alerts, key=lambda a: (a.state == "resolved", RANK[a.severity], -a.opened.timestamp())
    )
    items = api.items(limit=HEADLINES).items
    return Board(wall, now, wall - now > LIVE_WITHIN, hours, alerts, _worst_first(rows), health, items)


def _busiest(topics: Sequence[Topic]) -> list[str]:
    """Return the series to ask for: everything, then the topics with the most items."""
    others = sorted((t for t in topics if t.name != EVERYTHING and t.count), key=lambda t: (-t.count, t.name))
    return [EVERYTHING, *(topic.name for topic in others[: MOST_ROWS - 1])]


def _row(api: SentimentClient, name: str, window: int, start: datetime, now: datetime) -> Row:
    answer = api.series(name, window=window, start=start, end=now)
    return Row(name, answer.state == "learning", cells_of(answer))


def _worst_first(rows: Sequence[Row]) -> list[Row]:
    """Return the series with items, by how they stand now; those that learn come last, by items."""
    there = [row for row in rows if row.count]
    return sorted(there, key=lambda row: (row.now is None, -(row.now or 0.0), -row.count, row.series))
