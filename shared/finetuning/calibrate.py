"""Temperature, thresholds and label sets, fitted on validation logits of the serving engine."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from shared.evaluation.conformal import Coverage, coverage, label_sets, lac_threshold
from shared.models.heads import FloatArray, HeadSpec, sigmoid, softmax

MIN_ROWS = 20  # below that a temperature is noise
MISS = 0.1  # of label sets: so many may lack the truth
Array = npt.NDArray[np.float64]


def temperature(spec: HeadSpec, logits: FloatArray, targets: Array) -> float:
    """Return the temperature (0.05 to 20) with the least negative log likelihood.

    `targets` is (n,) label positions for classify, tag and entity, (n, labels) 0/1 for multilabel, (n, 1) 0
    to 1 for grades. Guo et al. 2017.
    """
    if len(logits) < MIN_ROWS:
        return 1.0
    values = np.asarray(logits, np.float64)
    found = minimize_scalar(
        lambda log_t: log_loss(spec, values / np.exp(log_t), targets),
        bounds=(np.log(0.05), np.log(20)),
        method="bounded",
    )
    return round(float(np.exp(found.x)), 4)


def log_loss(spec: HeadSpec, logits: Array, targets: Array) -> float:
    """Return the mean negative log likelihood, 0 or more, of `targets` as for `temperature`."""
    if spec.kind in ("classify", "tag", "entity"):
        chosen = softmax(logits)[np.arange(len(logits)), targets.astype(int)]
        return float(-np.mean(np.log(chosen + 1e-12)))
    p = np.clip(sigmoid(logits), 1e-9, 1 - 1e-9)
    return float(-np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p)))


def thresholds(probabilities: FloatArray, targets: Array) -> list[float]:
    """Return for each label the threshold with the best F1 on these rows; 0.5 where it has under 5."""
    return [
        _threshold(probabilities[:, j], targets[:, j]) if targets[:, j].sum() >= 5 else 0.5
        for j in range(probabilities.shape[1])
    ]


def set_cut(probabilities: FloatArray, targets: Array) -> float | None:
    """Return from which probability a label belongs to the set that holds the truth in 9 of 10 texts.

    `probabilities` is (n, labels), `targets` (n,) label positions. None for under 20 rows. The cut is rounded
    down, so that no row falls out of its set by rounding.
    """
    if len(probabilities) < MIN_ROWS:
        return None
    cut = lac_threshold(probabilities, targets.astype(int).tolist(), miss=MISS)
    return math.floor(cut * 1e6) / 1e6


def set_coverage(probabilities: FloatArray, targets: Array) -> Coverage:
    """Return what such sets hold on rows that did not set their cut: each half is measured by the other's."""
    truth = targets.astype(int)
    sets: list[list[int]] = [[] for _ in truth]
    halves = (np.arange(0, len(truth), 2), np.arange(1, len(truth), 2))
    for fitted, measured in (halves, halves[::-1]):
        cut = lac_threshold(probabilities[fitted], truth[fitted].tolist(), miss=MISS)
        for row, own in zip(measured, label_sets(probabilities[measured], cut), strict=True):
            sets[row] = own
    return coverage(sets, truth.tolist())


def _threshold(p: FloatArray, real: Array) -> float:
    cuts: Sequence[float] = [round(float(c), 2) for c in np.arange(0.1, 0.91, 0.05)]
    scores = [
        2 * np.sum((p >= c) & (real > 0)) / max(1.0, float(np.sum(p >= c) + np.sum(real))) for c in cuts
    ]
    best = np.flatnonzero(np.asarray(scores) == max(scores))
    return cuts[int(best[len(best) // 2])]  # the middle of a plateau
