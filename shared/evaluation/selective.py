"""Figures of a classifier that may refuse a row as out of scope.

`scores` are higher the more a row seems out of scope; a row is refused when its score is above the threshold.
`foreign` says which rows really are out of scope; `right` which rows the argmax answers rightly (its value
for foreign rows is not read).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shared.evaluation.detection import auroc

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]


class Point(NamedTuple):
    """What one threshold gives; both shares 0 to 1."""

    threshold: float
    in_scope_accuracy: float
    oos_recall: float


def closed_accuracy(foreign: Bools, right: Bools) -> float:
    """Return the share of in-scope rows that the argmax answers rightly; NaN without any."""
    return _mean(right[~foreign])


def in_scope_accuracy(foreign: Bools, right: Bools, refused: Bools) -> float:
    """Return the share of in-scope rows that are right and not refused; NaN without any."""
    return _mean((right & ~refused)[~foreign])


def oos_recall(foreign: Bools, refused: Bools) -> float:
    """Return the share of out-of-scope rows that are refused; NaN without any."""
    return _mean(refused[foreign])


def oos_auroc(foreign: Bools, scores: Floats) -> float:
    """Return the chance that an out-of-scope row scores above an in-scope one; NaN with one kind only."""
    return auroc(foreign, scores)


def curve(foreign: Bools, right: Bools, scores: Floats, *, points: int = 101) -> list[Point]:
    """Return at most `points` points from refusing everything to refusing nothing, thresholds rising.

    Thresholds are scores that occur (evenly spread over their ranks), after one below all of them. Without
    rows it is empty.
    """
    if not len(scores):
        return []
    levels = np.unique(scores)
    chosen = levels[np.unique(np.linspace(0, len(levels) - 1, points - 1).round().astype(int))]
    return [_point(foreign, right, scores, t) for t in [np.nextafter(levels[0], -np.inf), *chosen]]


def _point(foreign: Bools, right: Bools, scores: Floats, threshold: float) -> Point:
    refused = scores > threshold
    return Point(float(threshold), in_scope_accuracy(foreign, right, refused), oos_recall(foreign, refused))


def _mean(values: Sequence[bool] | Bools) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
