"""What goes over HTTP: requests refuse unknown fields, answers may gain fields and clients ignore those."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Id = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]

ServedBy = Literal["personal", "visit", "similar", "segment", "popular"]
ReasonKind = Literal["similar_to", "bought_before", "text_match", "popular"]


class Request(BaseModel):
    """Base of the requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Response(BaseModel):
    """Base of the answers: a newer service may send more than this client knows."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Reason(Response):
    """What made the score: `text` is an English sentence, `item_id` and `title` name an item of the history.

    Without that item in the history the score would be lower. `words` are words that a text match shares.
    """

    kind: ReasonKind
    text: str
    item_id: str | None = None
    title: str | None = None
    words: list[str] = []


class Recommended(Response):
    """One place of a slate: `rank` from 1; `score` is comparable inside this slate only.

    `source` names the candidate source that put the item in first. `parts` add up to `score` (up to
    rounding) and are there with `explain=true` only.
    """

    item_id: str
    rank: int
    score: float
    source: str
    reasons: list[Reason] = []
    title: str = ""
    parts: dict[str, float] | None = None


class Recommendations(Response):
    """A slate, best first after diversification; fewer than k when the catalogue has no more.

    `served_by` says which step of the ladder made it.
    """

    slate_id: str
    served_by: ServedBy
    model: str | None = None
    index: str | None = None
    items: list[Recommended]


class Event(Request):
    """One act of a user. `event` is view, click, comment, share or buy; another one is rejected with why.

    `ts` is ISO 8601 or seconds since 1970, without a zone UTC; left out it is the time of arrival.
    """

    event_id: Id | None = None
    user_id: Id
    item_id: Id
    event: Annotated[str, StringConstraints(max_length=50)]
    ts: str | float | None = None
    value: float | None = None


class EventBatch(Request):
    """Events in any order; each stands for itself."""

    events: Annotated[list[Event], Field(min_length=1, max_length=1_000)]


class Rejected(Response):
    """An event that was not taken: its place in the batch, from 0, and why."""

    index: int
    why: str


class EventsAccepted(Response):
    """What became of a batch; `accepted` + `duplicates` + the rejected ones are its size."""

    accepted: int
    duplicates: int
    rejected: list[Rejected] = []


class ItemSummary(Response):
    """An item in a list; `events` counts those of the live model's training."""

    item_id: str
    title: str
    tags: list[str] = []
    attributes: dict[str, Any] = {}
    url: str | None = None
    hidden: bool = False
    events: int = 0
    version: int
    updated: datetime


class ItemDetail(ItemSummary):
    """An item with its whole description."""

    description: str


class ItemPage(Response):
    """Items by id; `next` is the cursor of the following page, null on the last."""

    items: list[ItemSummary]
    next: str | None = None


class ItemWrite(Request):
    """An item as an editor sends it; a hidden one is kept and never recommended."""

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    description: Annotated[str, StringConstraints(max_length=20_000)] = ""
    tags: Annotated[list[Tag], Field(max_length=50)] = []
    url: Annotated[str, StringConstraints(max_length=2_000)] | None = None
    attributes: dict[str, str | float | bool | None] = {}
    hidden: bool = False


class ItemRemoved(Response):
    """The item that is gone; from the next answer on it is not shown."""

    item_id: str
    deleted: bool


class UserSummary(Response):
    """A user that has events; `last` is the time of the newest one."""

    user_id: str
    events: int
    last: datetime


class UserPage(Response):
    """Users by id; `next` is the cursor of the following page, null on the last."""

    users: list[UserSummary]
    next: str | None = None


class HistoryEvent(Response):
    """One event of a user's history."""

    item_id: str
    title: str
    event: str
    ts: datetime
    value: float | None = None


class UserHistory(Response):
    """The newest events of a user, newest first."""

    user_id: str
    events: list[HistoryEvent]
