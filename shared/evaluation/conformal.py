"""Sets of labels that hold the true one with a promised chance: split conformal prediction.

LAC, the least ambiguous sets (Sadinle, Lei and Wasserman 2019): a label is in the set when its probability is
at least `1 - q`, q being a quantile of 1 - p(true label) over rows that the model did not learn from. The
promise holds on average over rows like those, not for every class.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shared.errors import BadInput

Probabilities = npt.NDArray[np.floating]


class Coverage(NamedTuple):
    """How often the set holds the truth (0 to 1), and how many labels it has on average."""

    coverage: float
    size: float


def lac_threshold(probabilities: Probabilities, truth: Sequence[int], *, miss: float = 0.1) -> float:
    """Return from which probability (0 to 1) a label belongs to the set, for at most `miss` missed truths.

    `probabilities` is (n, labels), `truth` (n,) label positions, of validation rows. With too few rows for
    so small a `miss` (n < 1 / miss - 1) it is 0: every label belongs. Raises BadInput for no rows.
    """
    if not 0 < miss < 1:
        raise BadInput(f"miss is {miss}; give the share of sets that may miss the truth, above 0 and below 1")
    count = len(probabilities)
    if not count:
        raise BadInput("a conformal threshold needs validation rows; there are none")
    off = np.sort(1 - probabilities[np.arange(count), np.asarray(truth, int)].astype(np.float64))
    place = int(np.ceil((count + 1) * (1 - miss) - 1e-9))
    return 0.0 if place > count else float(1 - off[place - 1])


def label_sets(probabilities: Probabilities, threshold: float, *, most: int | None = None) -> list[list[int]]:
    """Return for each row the positions of the labels at or above `threshold`, most probable first.

    The most probable label is always in. `most` cuts longer sets: 2 gives "one of these two"; what is cut
    takes its share of the promise along. Equal probabilities keep the order of the labels.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    found = []
    for row, places in zip(probabilities, order, strict=True):
        # The same rounding as in `lac_threshold`: a row at the quantile itself belongs.
        size = max(1, int(np.sum(1 - row.astype(np.float64) <= 1 - threshold + 1e-12)))
        found.append([int(place) for place in places[: min(size, most or size)]])
    return found


def coverage(sets: Sequence[Sequence[int]], truth: Sequence[int]) -> Coverage:
    """Return how often the sets hold the truth, and their mean size; NaN for no rows."""
    if not len(sets):
        return Coverage(float("nan"), float("nan"))
    held = [int(real) in own for own, real in zip(sets, truth, strict=True)]
    return Coverage(float(np.mean(held)), float(np.mean([len(own) for own in sets])))
