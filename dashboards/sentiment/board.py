"""What the live page shows, fetched in one go: alerts, a row of windows for each series, feeds, headlines."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.sentiment.client import SentimentClient
from services.sentiment.contract import Alert, Health, Item, Point

EVERYTHING = "all"  # the series that always exists
MOST_ROWS = 10
HEADLINES = 12
CELLS = 48  # columns of the heat map at most


@dataclass(frozen=True)
class Row:
    """One series over the shown range: its windows with items, oldest first, and how it stands now."""

    series: str
    state: str
    points: list[Point]

    @property
    def count(self) -> int:
        """Items in the range."""
        return sum(point.count for point in self.points)

    @property
    def share(self) -> float | None:
        """Share of negative items in the range, 0 to 1; None without items."""
        return sum(point.negative for point in self.points) / self.count if self.count else None

    @property
    def z(self) -> float:
        """The z-score of the range's last quarter; 0 while the series is learning."""
        recent = self.points[-max(1, len(self.points) // 4) :]
        return surprise(recent) or 0.0


@dataclass(frozen=True)
class Board:
    """One look at the desk. `now` is the watermark: during a replay it lies in the past."""

    now: datetime
    replay: bool
    alerts: list[Alert]
    rows: list[Row]
    health: Health
    items: list[Item]
    width: timedelta


def surprise(points: list[Point]) -> float | None:
    """Return how many deviations more negative items came than expected; None without an expectation.

    Counts of a share are binomial: the deviation of `expected` of `count` is sqrt(expected (1 - expected / count)).
    """
    known = [point for point in points if point.expected is not None and point.count]
    count = sum(point.count for point in known)
    expected = sum(float(point.expected or 0.0) for point in known)
    if not count:
        return None
    spread = math.sqrt(max(expected * (1 - min(expected / count, 1.0)), 0.25))
    return (sum(point.negative for point in known) - expected) / spread
