"""The types that a question passes through, one per step: Query -> Passages -> Draft -> answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Status = Literal["answer", "choices", "handoff"]


@dataclass(frozen=True)
class Asker:
    """Who asks: their access groups decide which documents they may see."""

    name: str
    groups: frozenset[str]


@dataclass(frozen=True)
class Guess:
    """An intent with its calibrated probability, 0 to 1."""

    intent: str
    probability: float


@dataclass(frozen=True)
class Query:
    """A question as the model sees it.

    `vector` is (dim,) of unit length. `guesses` are the intents, likeliest first, empty without an
    intent head. `nearness` says how near the question lies to what was learnt, higher for nearer, on the
    scale of the model's own threshold.
    """

    text: str
    vector: FloatArray
    guesses: tuple[Guess, ...] = ()
    nearness: float = -1.0


@dataclass(frozen=True)
class Document:
    """A document as stored. `groups` empty: everybody may read it."""

    id: str
    title: str
    text: str
    url: str | None
    groups: frozenset[str]
    version: int

    def visible_to(self, asker: Asker) -> bool:
        """Whether `asker` may read it."""
        return not self.groups or bool(self.groups & asker.groups)


@dataclass(frozen=True)
class Passage:
    """A chunk that was found: characters `start` to `end` of its document; `score` is a cosine."""

    document: Document
    chunk_id: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Quote:
    """Sentences of a passage that stand together and answer; `score` is the best one's cosine."""

    passage: Passage
    start: int
    end: int
    score: float

    @property
    def text(self) -> str:
        """The quoted characters of the stored text."""
        return self.passage.document.text[self.start : self.end]


@dataclass(frozen=True)
class Draft:
    """What to say. `reason` is set for a hand-over: why, without the customer's words."""

    status: Status
    text: str
    quotes: tuple[Quote, ...] = ()
    choices: tuple[Guess, ...] = ()
    reason: str | None = None


def title_of(intent: str) -> str:
    """Return an intent's name as people read it: `cancel_order` is "Cancel order"."""
    words = " ".join(intent.replace("_", " ").replace("-", " ").split())
    return words[:1].upper() + words[1:]


def related(passages: Sequence[Passage], quotes: Sequence[Quote], most: int = 3) -> list[Document]:
    """Return documents that were found but not quoted, best first, each once."""
    quoted = {quote.passage.document.id for quote in quotes}
    found = {p.document.id: p.document for p in passages if p.document.id not in quoted}
    return list(found.values())[:most]
