"""What goes over HTTP: requests refuse unknown fields, answers may gain fields and clients ignore those."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Request(BaseModel):
    """Base of the requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Response(BaseModel):
    """Base of the answers: a newer service may send more than this client knows."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AskRequest(Request):
    """One turn of a person. Without `conversation_id` a new conversation begins."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]
    conversation_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None


class Citation(Response):
    """Where a sentence stands: `quote` is characters `start` to `end` of that version's stored text."""

    document_id: str
    chunk_id: str
    title: str
    url: str | None = None
    version: int
    start: int
    end: int
    quote: str


class Intent(Response):
    """What the person wants; `confidence` is a calibrated probability, 0 to 1."""

    name: str
    confidence: float


class Choice(Response):
    """An intent to offer; sending its `title` as the next question of the conversation picks it."""

    intent: str
    title: str
    confidence: float


class Related(Response):
    """A document worth reading that the answer does not quote."""

    document_id: str
    title: str
    url: str | None = None


class Handoff(Response):
    """Why a person has to take over, and what they should know; no customer text in `reason`."""

    reason: str
    summary: str


class AskResponse(Response):
    """The answer. `citations` hold every source of `text`; `handoff` is set when status is handoff."""

    answer_id: str
    conversation_id: str
    status: Literal["answer", "choices", "handoff"]
    text: str
    citations: list[Citation] = []
    intent: Intent | None = None
    choices: list[Choice] = []
    related: list[Related] = []
    handoff: Handoff | None = None
    model: str | None = None
    index: str | None = None


class DocumentSummary(Response):
    """A document in a list. `groups` is empty when everybody may read it."""

    id: str
    title: str
    url: str | None = None
    groups: list[str] = []
    version: int
    updated: datetime


class DocumentText(DocumentSummary):
    """A document with its stored text, the one that citations point into."""

    text: str


class DocumentPage(Response):
    """Documents by id; `next` is the cursor of the following page, null on the last."""

    documents: list[DocumentSummary]
    next: str | None = None


class DocumentWrite(Request):
    """A document as an editor sends it; `format` says how `text` is cleaned before it is stored."""

    title: Name
    text: Annotated[str, StringConstraints(min_length=1, max_length=500_000)]
    url: Annotated[str, StringConstraints(max_length=2_000)] | None = None
    groups: Annotated[list[Name], Field(max_length=50)] = []
    format: Literal["text", "markdown", "html"] = "text"


class DocumentRemoved(Response):
    """The document that is gone; from the next question on nothing of it is shown."""

    id: str
    deleted: bool
