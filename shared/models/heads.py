"""What a head answers, and how its raw numbers become probabilities."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

FloatArray = npt.NDArray[np.float32]
HeadKind = Literal["embed", "classify", "multilabel"]


class HeadSpec(BaseModel):
    """One named output of a model.

    `embed` gives unit-length vectors and has no labels. `classify` gives one probability per label,
    summing to 1. `multilabel` gives an independent probability per label; `thresholds`, one per
    label in its order, say from where a label counts as given (0.5 where there are none).
    `temperature` > 0 divides the logits and was fitted on validation rows with the serving engine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: HeadKind
    labels: list[str] = []
    temperature: float = Field(1.0, gt=0)
    thresholds: list[float] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "HeadSpec":
        if (self.kind == "embed") == bool(self.labels):
            raise ValueError(f"head {self.name!r}: embed has no labels, classify and multilabel need some")
        if self.thresholds is not None and len(self.thresholds) != len(self.labels):
            raise ValueError(f"head {self.name!r}: {len(self.labels)} labels need as many thresholds")
        return self

    def decode(self, logits: FloatArray) -> FloatArray:
        """Turn logits (n, labels) into probabilities (n, labels), each in 0..1."""
        scaled = np.asarray(logits, dtype=np.float64) / self.temperature
        values = softmax(scaled) if self.kind == "classify" else sigmoid(scaled)
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
