"""The ladder: a record becomes an article, is scored, touches windows; these give a verdict and an alert."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

ALL = "all"  # the series that every item counts in
LABELS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class Article:
    """One item as it came: `ts` is its event time, `text` may be empty, `title` is not."""

    id: str
    ts: datetime
    title: str
    text: str = ""
    source: str = "unknown"
    url: str | None = None

    @property
    def whole(self) -> str:
        """What the model reads: the title, and the text unless that only repeats it."""
        if not self.text or self.text == self.title:
            return self.title
        return self.text if self.text.startswith(self.title) else f"{self.title}. {self.text}"

    @property
    def text_hash(self) -> str:
        """Tells a repeated item (the same) from a corrected one (another)."""
        return hashlib.sha256(f"{self.title}\n{self.text}".encode()).hexdigest()


@dataclass(frozen=True)
class Scored:
    """An article with what `model` says of it: a probability per label, summing to 1, and its topics."""

    article: Article
    probabilities: Mapping[str, float]
    topics: tuple[str, ...]
    model: str

    @property
    def label(self) -> str:
        """The most probable label; of equal ones the first of negative, neutral, positive."""
        return max(LABELS, key=lambda label: self.probabilities[label])

    @property
    def series(self) -> tuple[str, ...]:
        """The series that it counts in."""
        return (ALL, *(topic for topic in self.topics if topic != ALL))


@dataclass(frozen=True, slots=True)
class Counts:
    """What a span of time holds: items, those by label, and the sum of P(positive) - P(negative)."""

    count: int = 0
    negative: int = 0
    positive: int = 0
    score: float = 0.0

    def plus(self, other: "Counts", times: int = 1) -> "Counts":
        """Return this with `other` added `times` (-1 takes it away)."""
        return Counts(
            self.count + times * other.count,
            self.negative + times * other.negative,
            self.positive + times * other.positive,
            self.score + times * other.score,
        )


class Reason(StrEnum):
    """Why a window is or is not a surge."""

    LEARNING = "there is too little history to say what is usual"
    TOO_FEW = "fewer negative items than the rule asks for"
    USUAL_COUNT = "no more negative items than chance explains"
    USUAL_SHARE = "more items, but no larger share of negative ones"
    EXPLAINED = "a topic's own surge explains it"
    SURGE = "more negative items than chance explains, and a larger share"


@dataclass(frozen=True)
class Verdict:
    """What one window of one series says, with the numbers that decided.

    `expected` negatives and `usual_share` come from the history; `p_count` and `p_share` are the
    chances of at least this many negatives by volume and among this many items. While learning they
    are nothing (0 expected, chances of 1).
    """

    reason: Reason
    counts: Counts
    expected: float = 0.0
    usual_share: float = 0.0
    p_count: float = 1.0
    p_share: float = 1.0
    calm: bool = True

    @property
    def surge(self) -> bool:
        """Whether the window is a surge."""
        return self.reason is Reason.SURGE


class Phase(StrEnum):
    """Where a series stands; `open` and `recovering` have an alert that is not resolved."""

    QUIET = "quiet"
    PENDING = "pending"
    OPEN = "open"
    RECOVERING = "recovering"


@dataclass(frozen=True)
class State:
    """What the evaluator remembers of one series. Times are window ends in seconds since 1970.

    `since` is the first window of the running surge, `last` the newest window that was judged,
    `opened` the one that opened the alert, `resolved` the end of the last alert. `excluded` are
    (start, end) spans of earlier alerts, which are no part of what is usual.
    """

    phase: Phase = Phase.QUIET
    hits: int = 0
    calm: int = 0
    since: int = 0
    last: int = 0
    opened: int = 0
    resolved: int = 0
    alert: str = ""
    peak: int = 0
    p: float = 1.0
    excluded: tuple[tuple[int, int], ...] = field(default=())
