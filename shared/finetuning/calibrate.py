"""Temperature and thresholds, fitted on validation logits of the serving engine."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from shared.models.heads import FloatArray, HeadSpec, sigmoid, softmax

MIN_ROWS = 20  # below that a temperature is noise
Array = npt.NDArray[np.float64]


def temperature(spec: HeadSpec, logits: FloatArray, targets: Array) -> float:
    """Return the temperature (0.05 to 20) with the least negative log likelihood.

    `targets` is (n,) label positions for classify, (n, labels) 0/1 for multilabel. Guo et al. 2017.
    """
    if len(logits) < MIN_ROWS:
        return 1.0
    values = np.asarray(logits, np.float64)

    def loss(log_t: float) -> float:
        scaled = values / np.exp(log_t)
        if spec.kind == "classify":
            chosen = softmax(scaled)[np.arange(len(values)), targets.astype(int)]
            return float(-np.mean(np.log(chosen + 1e-12)))
        p = np.clip(sigmoid(scaled), 1e-9, 1 - 1e-9)
        return float(-np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p)))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return round(float(np.exp(found.x)), 4)


def thresholds(probabilities: FloatArray, targets: Array) -> list[float]:
    """Return for each label the threshold with the best F1 on these rows; 0.5 where it has under 5."""
    return [
        _threshold(probabilities[:, j], targets[:, j]) if targets[:, j].sum() >= 5 else 0.5
        for j in range(probabilities.shape[1])
    ]


def _threshold(p: FloatArray, real: Array) -> float:
    cuts: Sequence[float] = [round(float(c), 2) for c in np.arange(0.1, 0.91, 0.05)]
    scores = [
        2 * np.sum((p >= c) & (real > 0)) / max(1.0, float(np.sum(p >= c) + np.sum(real))) for c in cuts
    ]
    best = np.flatnonzero(np.asarray(scores) == max(scores))
    return cuts[int(best[len(best) // 2])]  # the middle of a plateau
