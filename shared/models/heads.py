"""What a head answers, and how its raw numbers become probabilities."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

FloatArray = npt.NDArray[np.float32]
HeadKind = Literal[
    "embed", "classify", "multilabel", "regress", "tag", "entity", "score", "similarity", "span", "mlm"
]

LABELLED = ("classify", "multilabel", "tag", "entity")
PAIRED = ("score", "span")  # read two texts together
GRADED = ("score", "similarity")  # say of two texts how well they belong together
BY_TOKEN = ("tag", "entity", "span")  # one row of numbers per token
OUTSIDE = "O"  # the tag of a word that belongs to no entity


class HeadSpec(BaseModel):
    """One named output of a model.

    `embed` gives unit-length vectors and has no labels; the first n numbers of a vector are a smaller
    vector for every n in `sizes` (Matryoshka), once scaled to length 1. `classify` gives one probability
    per label, summing to 1. `multilabel` gives an independent probability per label; `thresholds`, one
    per label in its order, say from where a label counts as given (0.5 where there are none). The labels
    of a classify head from probability `set_cut` on make the set that holds the truth with a promised
    chance (`label_set`); None where too few validation rows were known. `regress`
    gives a number: the raw output times `spread` plus `centre`. `tag` gives every token one of its BIO
    labels, `O` first; `entity` the labels of a given span, as the mean over the span's tokens. `score`
    says in 0..1 how well two texts belong together, and reads them in one pass; `similarity` says it of
    their vectors, each text read alone: from `spread` above the cosine `centre`, in log-odds. `span` tells
    where in the second text the answer to the first stands. `mlm` learns from plain text and is not served.
    `temperature` > 0 divides the logits and was fitted on validation rows with the serving engine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: HeadKind
    labels: list[str] = []
    temperature: float = Field(1.0, gt=0)
    thresholds: list[float] | None = None
    set_cut: float | None = Field(None, ge=0, le=1)
    centre: float = 0.0
    spread: float = Field(1.0, gt=0)
    sizes: list[int] = []

    @model_validator(mode="after")
    def _fits(self) -> "HeadSpec":
        if (self.kind in LABELLED) != bool(self.labels):
            raise ValueError(f"head {self.name!r}: {', '.join(LABELLED)} have labels, no other kind has")
        if self.thresholds is not None and len(self.thresholds) != len(self.labels):
            raise ValueError(f"head {self.name!r}: {len(self.labels)} labels need as many thresholds")
        if self.kind == "tag" and self.labels[0] != OUTSIDE:
            raise ValueError(f"head {self.name!r}: the first tag is {OUTSIDE!r}, not {self.labels[0]!r}")
        return self

    def width(self, dim: int) -> int:
        """Return how many numbers this head gives, for a text or for a token, of a model `dim` wide."""
        if self.kind == "embed":
            return dim
        return {"regress": 1, "score": 1, "similarity": 1, "span": 2}.get(self.kind, len(self.labels))

    def compared(self, vectors: FloatArray, others: FloatArray) -> FloatArray:
        """Return the raw numbers (n, 1) of a similarity head for unit vectors (n, dim), row by row."""
        cosines = np.sum(vectors.astype(np.float64) * others, axis=1, keepdims=True)
        numbers: FloatArray = ((cosines - self.centre) / self.spread).astype(np.float32)
        return numbers

    def label_set(self, probabilities: FloatArray) -> list[str]:
        """Return the labels at or above `set_cut`, most probable first; the most probable one is always in.

        `probabilities` is (labels,). Equal ones keep the order of the labels; without a cut all belong.
        """
        order = np.argsort(-probabilities, kind="stable")
        low = (self.set_cut or 0.0) - 1e-7  # a float32 at the cut itself belongs
        size = max(1, int(np.sum(probabilities >= low)))
        return [self.labels[int(at)] for at in order[:size]]

    def decode(self, logits: FloatArray) -> FloatArray:
        """Turn logits into what the head says: probabilities (…, labels) in 0..1, numbers (n,) for regress,
        score and similarity. `span` and `embed` come back as they are."""
        if self.kind in ("span", "embed", "mlm"):
            return logits
        scaled = np.asarray(logits, dtype=np.float64)
        if self.kind == "regress":
            return (scaled[..., 0] * self.spread + self.centre).astype(np.float32)
        scaled = scaled / self.temperature
        if self.kind in GRADED:
            return sigmoid(scaled[..., 0]).astype(np.float32)
        values = sigmoid(scaled) if self.kind == "multilabel" else softmax(scaled)
        return values.astype(np.float32)


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return exp(x) / sum(exp(x)) over the last axis, safe for large values and for no rows."""
    if logits.size == 0:
        return logits
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return 1 / (1 + exp(-x)), safe for large values."""
    halves: npt.NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return halves
