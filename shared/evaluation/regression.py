"""Figures of predicted numbers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = Sequence[float] | npt.NDArray[np.floating]


def mse(truth: Numbers, predicted: Numbers) -> float:
    """Return the mean squared error, 0 or more; NaN for no rows."""
    off = np.asarray(truth, np.float64) - np.asarray(predicted, np.float64)
    return float(np.mean(off**2)) if len(off) else float("nan")


def r2(truth: Numbers, predicted: Numbers) -> float:
    """Return the share of the truth's variance that is explained, 1 or less (below 0: worse than its mean).

    NaN for fewer than two rows or a truth that never varies.
    """
    real = np.asarray(truth, np.float64)
    spread = float(np.sum((real - real.mean()) ** 2)) if len(real) > 1 else 0.0
    return (
        1 - float(np.sum((real - np.asarray(predicted, np.float64)) ** 2)) / spread
        if spread
        else float("nan")
    )


def spearman(truth: Numbers, predicted: Numbers) -> float:
    """Return the correlation of the ranks, -1 to 1; equal values share their mean rank.

    NaN for fewer than two rows or a side that never varies.
    """
    one, other = ranks(np.asarray(truth, np.float64)), ranks(np.asarray(predicted, np.float64))
    if len(one) < 2 or not one.std() or not other.std():
        return float("nan")
    return float(np.mean((one - one.mean()) * (other - other.mean())) / (one.std() * other.std()))


def ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the rank of each value, 1 for the smallest; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
