"""One place decides what happens with a question: answer, offer choices, or hand over."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from services.support.answer import SentenceVectors, extract, grounded
from services.support.domain import Draft, Guess, Passage, Query
from services.support.intents import Intents
from services.support.phrases import phrase

UNSURE = 0.45  # below this probability the likeliest intent alone is not enough
CLOSE = 0.6  # the second intent is a real alternative from this share of the first on

NO_DOCUMENTS = "there are no documents to answer from"
UNKNOWN = "nothing in the documents answers this"


class Limits(BaseModel):
    """`passage`: the least cosine of a passage that may answer; `how` says where it came from.

    `sure`: the same for a question that is none of the known intents; None for the same limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    passage: float
    sure: float | None = None
    how: str = ""

    def of(self, query: Query, intents: Intents) -> float:
        """Return the least cosine of a passage that may answer this question."""
        foreign = bool(query.guesses) and not intents.recognises(query)
        return self.passage if self.sure is None or not foreign else max(self.passage, self.sure)


def decide(
    query: Query, passages: Sequence[Passage], intents: Intents, limits: Limits, vectors: SentenceVectors
) -> Draft:
    """Return what to say.

    In this order: passages that are near enough give quotes (of a question that is none of the known intents
    nearer ones are asked, since the documents may know more than the tickets do); where two intents are
    near each other and no passage is near, the customer chooses; a recognised intent with an agreed reply
    gives that; all else is a hand-over. Without any document every question is handed over.
    """
    if not passages:
        return handoff(query, NO_DOCUMENTS)
    least = limits.of(query, intents)
    near = [passage for passage in passages if passage.score >= least]
    quotes = extract(query, near, vectors) if near else []
    if quotes:
        return grounded(quotes)
    if not intents.recognises(query):
        return handoff(query, UNKNOWN)
    choices = _choices(query)
    if choices:
        return Draft("choices", phrase("which", query.text), choices=choices)
    reply = intents.card.replies.get(query.guesses[0].intent)
    return Draft("answer", reply) if reply else handoff(query, UNKNOWN)


def handoff(query: Query, reason: str) -> Draft:
    """Return the hand-over with what the customer reads."""
    return Draft("handoff", phrase("sorry", query.text), reason=reason)


def _choices(query: Query) -> tuple[Guess, ...]:
    first, *rest = query.guesses
    close = [guess for guess in rest if guess.probability >= CLOSE * first.probability]
    return (first, *close[:2]) if first.probability < UNSURE and close else ()
