"""What a model artifact knows of intents: their middles, approved replies, and how far is too far."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from services.support.domain import FloatArray, Guess, Query
from shared.artifacts.files import write_aside
from shared.errors import Damaged
from shared.models.text_model import Outputs

HEAD = "intent"
CARD, MIDDLES = "intents.json", "intents.npy"


class IntentCard(BaseModel):
    """`threshold`: a cosine below it means that the question is none of these intents.

    `replies` maps an intent to the reply that its tickets agree on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: list[str] = []
    replies: dict[str, str] = {}
    threshold: float = 1.0


class Intents:
    """Recognises intents from one pass of the model. A model without an intent head knows none."""

    def __init__(self, card: IntentCard, middles: FloatArray) -> None:
        self.card, self._middles = card, middles

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
        return cls(card, middles)

    def save(self, folder: Path) -> None:
        """Write the card and the middles into a model folder."""
        write_aside(folder / CARD, self.card.model_dump_json(indent=1).encode())
        np.save(folder / MIDDLES, self._middles)

    def read(self, text: str, outputs: Outputs) -> Query:
        """Return the query of one text from the model's outputs (one row)."""
        assert outputs.vectors is not None  # noqa: S101 - every support model has an embed head
        vector = outputs.vectors[0]
        if HEAD not in outputs.probabilities or not self.card.labels:
            return Query(text, vector)
        shares = outputs.probabilities[HEAD][0]
        order = np.argsort(-shares, kind="stable")
        guesses = tuple(Guess(self.card.labels[i], float(shares[i])) for i in order[:5])
        return Query(text, vector, guesses, float(self._middles[order[0]] @ vector))

    def recognises(self, query: Query) -> bool:
        """Whether the question is near enough to its likeliest intent to be one of them."""
        return bool(query.guesses) and query.nearness >= self.card.threshold


def middles(vectors: FloatArray, labels: Sequence[str], names: Sequence[str]) -> FloatArray:
    """Return the unit mean vector of each label's rows, (len(names), dim); zero where it has none."""
    found = np.zeros((len(names), vectors.shape[1]), np.float32)
    given = np.asarray(labels)
    for i, name in enumerate(names):
        if np.any(given == name):
            mean = vectors[given == name].mean(0)
            found[i] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return found
