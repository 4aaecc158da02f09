"""What goes over HTTP: answers may gain fields, and clients ignore those they don't know."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

Label = Literal["negative", "neutral", "positive"]
SeriesState = Literal["learning", "ready"]
AlertKind = Literal["topic", "entity", "feed"]
AlertState = Literal["open", "recovering", "resolved"]
Severity = Literal["low", "medium", "high"]
FeedState = Literal["live", "quiet"]


class Response(BaseModel):
    """Base of the answers: a newer service may send more than this client knows."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Sentiment(Response):
    """`label` is the most probable one; `probabilities` (label -> 0..1) sum to 1."""

    label: Label
    probabilities: dict[str, float]


class Item(Response):
    """One item as it was scored. `late` says that it arrived behind the watermark."""

    id: str
    ts: datetime
    title: str
    source: str
    url: str | None = None
    sentiment: Sentiment
    topics: list[str] = []
    model: str
    late: bool = False


class ItemPage(Response):
    """Items, newest event time first; `next` is the cursor of the following page, null on the last."""

    items: list[Item]
    next: str | None = None


class Point(Response):
    """One window that ends at `end` (exclusive).

    `expected` is the number of negative items that the history of that hour of the week predicts; null
    while there is too little history, or where the window is not closed yet.
    """

    end: datetime
    count: int
    negative: int
    expected: float | None = None


class Series(Response):
    """Windows of one series, oldest first; `window` and `step` are in minutes."""

    series: str
    window: int
    step: int
    state: SeriesState
    points: list[Point]


class Headline(Response):
    """An item that an alert names as its reason; `negative` is its probability of being negative."""

    id: str
    ts: datetime
    title: str
    source: str
    url: str | None = None
    negative: float


class Why(Response):
    """The numbers of the window that decided, and the most negative items in it.

    `expected` negatives are usual at that hour of the week, `usual_share` is the usual share of
    negatives; `p_count` and `p_share` are the chances of at least as many negatives, by volume and by
    share, when nothing is the matter. Both must be small; `p` is the smaller one. `text` says the same
    in a sentence.
    """

    text: str
    end: datetime
    count: int
    negative: int
    expected: float
    share: float
    usual_share: float
    p_count: float
    p_share: float
    p: float
    headlines: list[Headline] = []


class Alert(Response):
    """One alert. `opened` and `resolved` are window ends in event time; `peak` the most negatives in one."""

    id: str
    series: str
    kind: AlertKind
    state: AlertState
    opened: datetime
    severity: Severity
    why: Why
    model: str
    resolved: datetime | None = None
    peak: int = 0


class AlertPage(Response):
    """Alerts, newest first; `next` is the cursor of the following page, null on the last."""

    alerts: list[Alert]
    next: str | None = None


class Topic(Response):
    """A series that is kept. `all` counts every item; the others are topics."""

    name: str
    description: str = ""
    keywords: list[str] = []
    state: SeriesState
    count: int = 0
    negative: int = 0
    last: datetime | None = None


class Topics(Response):
    """Every series, `all` first, then by name. Counts are of all items that are kept."""

    topics: list[Topic]


class Feed(Response):
    """One source: `last` is its newest event time, `lag_s` how far that is behind the watermark."""

    source: str
    state: FeedState
    last: datetime
    lag_s: float
    count: int


class Health(Response):
    """How the stream does. `now` is the watermark: pages show it as the present during a replay.

    `late` items changed a window that was closed, `too_late` ones are older than the horizon and
    were kept aside; `dead_letters` can't be read. `worker` is alive while its lease is held.
    """

    now: datetime | None
    worker: Literal["alive", "stopped"]
    items: int
    late: int
    too_late: int
    dead_letters: int
    duplicates: int
    corrections: int
    feeds: list[Feed]
    model: str | None = None
