"""What a model artifact knows of intents: their approved replies, and which questions are none of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from services.support.domain import FloatArray, Guess, Query
from shared.artifacts.files import write_aside
from shared.errors import Damaged
from shared.models.out_of_scope import OutOfScope, Places
from shared.models.text_model import Outputs

Scores = npt.NDArray[np.float64]

HEAD = "intent"
CARD, MIDDLES = "intents.json", "intents.npy"
_TINY = 1e-12


class IntentCard(BaseModel):
    """`threshold`: a nearness below it means that the question is none of these intents.

    `rule` gives the nearness: minus its score. Without one it is the cosine to the middle of the likeliest
    intent's questions. `replies` maps an intent to the reply that its tickets agree on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: list[str] = []
    replies: dict[str, str] = {}
    threshold: float = 1.0
    rule: OutOfScope | None = None


class Intents:
    """Recognises intents from one pass of the model. A model without an intent head knows none."""

    def __init__(self, card: IntentCard, middles: FloatArray, places: Places | None = None) -> None:
        self.card, self._middles, self._places = card, middles, places

    @classmethod
    def load(cls, folder: Path) -> "Intents":
        """Read what `save` wrote; a folder without it knows no intent. Raises Damaged."""
        if not (folder / CARD).is_file():
            return cls(IntentCard(), np.zeros((0, 1), np.float32))
        try:
            card = IntentCard.model_validate_json((folder / CARD).read_text("utf-8"))
            middles = np.load(folder / MIDDLES, allow_pickle=False).astype(np.float32)
            if len(middles) != len(card.labels):
                raise ValueError(f"{len(middles)} middles for {len(card.labels)} intents")
        except (OSError, ValueError, ValidationError) as error:
            raise Damaged(f"{folder / CARD} can't be read: {error}; run `trillium train support`") from error
        return cls(card, middles, Places.load(folder) if card.rule else None)

    def save(self, folder: Path) -> None:
        """Write the card and the middles into a model folder."""
        write_aside(folder / CARD, self.card.model_dump_json(indent=1).encode())
        np.save(folder / MIDDLES, self._middles)
        if self._places is not None:
            self._places.save(folder)

    def read(self, text: str, outputs: Outputs) -> Query:
        """Return the query of one text from the model's outputs (one row)."""
        vector = vectors(outputs)[0]
        if HEAD not in outputs.probabilities or not self.card.labels:
            return Query(text, vector)
        shares = outputs.probabilities[HEAD][0]
        order = np.argsort(-shares, kind="stable")
        guesses = tuple(Guess(self.card.labels[i], float(shares[i])) for i in order[:5])
        if self.card.rule is None or self._places is None:
            return Query(text, vector, guesses, float(self._middles[order[0]] @ vector))
        return Query(text, vector, guesses, float(nearness(self.card.rule, self._places, outputs)[0]))

    def recognises(self, query: Query) -> bool:
        """Whether the question is near enough to its likeliest intent to be one of them."""
        return bool(query.guesses) and query.nearness >= self.card.threshold


def vectors(outputs: Outputs) -> FloatArray:
    """Return the (n, dim) vectors of questions."""
    assert outputs.vectors is not None  # noqa: S101 - every support model has an embed head
    return outputs.vectors


def levels(outputs: Outputs) -> FloatArray:
    """Return (n, intents) what the rule reads as logits: a served pass gives probabilities alone."""
    return np.log(np.maximum(outputs.probabilities[HEAD], _TINY)).astype(np.float32)


def nearness(rule: OutOfScope, places: Places, outputs: Outputs) -> Scores:
    """Return (n,) how near questions lie to what was learnt: minus the rule's score."""
    found: Scores = -rule.score(places, vectors(outputs), levels(outputs))
    return found


def middles(rows: FloatArray, labels: Sequence[str], names: Sequence[str]) -> FloatArray:
    """Return the unit mean vector of each label's rows, (len(names), dim); zero where it has none."""
    found = np.zeros((len(names), rows.shape[1]), np.float32)
    given = np.asarray(labels)
    for i, name in enumerate(names):
        if np.any(given == name):
            mean = rows[given == name].mean(0)
            found[i] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return found
