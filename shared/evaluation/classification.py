"""Figures of held-out predictions, with bootstrap intervals over rows."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Interval = tuple[float, float, float]
DRAWS = 1000


def accuracy(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the share of equal pairs, 0 to 1; NaN for no rows."""
    return float(np.mean(np.asarray(truth) == np.asarray(predicted))) if len(truth) else float("nan")


def macro_f1(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the mean F1 over the labels that the truth has, 0 to 1; NaN for no rows.

    A label that is never predicted counts 0. Predictions outside the truth's labels are errors of the
    labels they should have been.
    """
    real, said = np.asarray(truth), np.asarray(predicted)
    scores = []
    for label in np.unique(real):
        hits = float(np.sum((real == label) & (said == label)))
        scores.append(2 * hits / float(np.sum(real == label) + np.sum(said == label)))
    return float(np.mean(scores)) if scores else float("nan")


def weighted_f1(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the mean F1 over the truth's labels, each weighted by its rows, 0 to 1; NaN for no rows."""
    real, said = np.asarray(truth), np.asarray(predicted)
    total = 0.0
    for label, rows in zip(*np.unique(real, return_counts=True), strict=True):
        hits = float(np.sum((real == label) & (said == label)))
        total += rows * 2 * hits / float(rows + np.sum(said == label))
    return float(total / len(real)) if len(real) else float("nan")


def mcc(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Return Matthews' correlation of truth and prediction for any number of labels, -1 to 1.

    0 when either side has one label only (no correlation can be told), NaN for no rows. Gorodkin 2004.
    """
    real, said = np.asarray(truth), np.asarray(predicted)
    if not len(real):
        return float("nan")
    labels, codes = np.unique(np.concatenate([real, said]), return_inverse=True)
    one, other = (np.bincount(part, minlength=len(labels)).astype(np.float64) for part in np.split(codes, 2))
    rows = float(len(real))
    together = float(np.sum(real == said)) * rows - float(one @ other)
    spread = (rows**2 - float(one @ one)) * (rows**2 - float(other @ other))
    return together / float(np.sqrt(spread)) if spread else 0.0


def micro_f1(truth: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_]) -> float:
    """Return F1 over all cells of two (n, labels) tables, 0 to 1; 1 when neither has any."""
    hits, sides = float(np.sum(truth & predicted)), float(np.sum(truth) + np.sum(predicted))
    return 2 * hits / sides if sides else 1.0


def expected_calibration_error(confidence: Array, right: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins, weighted by rows.

    Guo et al. 2017, On Calibration of Modern Neural Networks. 0 to 1; NaN for no rows.
    """
    rows = reliability(confidence, right, bins)
    total = sum(int(row["rows"]) for row in rows)
    gaps = [row["rows"] * abs(row["confidence"] - row["accuracy"]) for row in rows]
    return float(sum(gaps) / total) if total else float("nan")


def reliability(confidence: Array, right: npt.NDArray[np.bool_], bins: int = 15) -> list[dict[str, float]]:
    """Return the non-empty bins in order: `{from, to, rows, confidence, accuracy}`."""
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    return [
        {
            "from": float(edges[b]),
            "to": float(edges[b + 1]),
            "rows": float(np.sum(place == b)),
            "confidence": float(np.mean(confidence[place == b])),
            "accuracy": float(np.mean(right[place == b])),
        }
        for b in range(bins)
        if np.any(place == b)
    ]


def confusion(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """Return counts (true label, predicted label) in the order of `labels`."""
    at = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=int)
    for real, said in zip(truth, predicted, strict=True):
        table[at[real], at[said]] += 1
    counts: list[list[int]] = table.tolist()
    return counts


def bootstrap(
    metric: Callable[[Sequence[str], Sequence[str]], float],
    truth: Sequence[str],
    predicted: Sequence[str],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> Interval:
    """Return (value, low, high): the metric and its 95 % percentile interval over resampled rows."""
    real, said = np.asarray(truth), np.asarray(predicted)
    rng = np.random.default_rng(seed)
    picks = (rng.integers(0, len(real), len(real)) for _ in range(draws))
    values = [metric(real[pick], said[pick]) for pick in picks]  # type: ignore[arg-type]
    low, high = np.percentile(values, [2.5, 97.5])
    return metric(truth, predicted), float(low), float(high)


def paired_difference(
    metric: Callable[[Sequence[str], Sequence[str]], float],
    truth: Sequence[str],
    one: Sequence[str],
    other: Sequence[str],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> Interval:
    """Return (value, low, high) of metric(one) - metric(other): a 95 % interval over resampled rows.

    Both are resampled with the same rows, so what is hard for both does not widen the interval.
    """
    real, a, b = np.asarray(truth), np.asarray(one), np.asarray(other)
    rng = np.random.default_rng(seed)
    picks = (rng.integers(0, len(real), len(real)) for _ in range(draws))
    values = [metric(real[p], a[p]) - metric(real[p], b[p]) for p in picks]  # type: ignore[arg-type]
    low, high = np.percentile(values, [2.5, 97.5])
    return metric(truth, one) - metric(truth, other), float(low), float(high)
