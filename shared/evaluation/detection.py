"""Figures of a score that should be high where something is there, over all thresholds."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from shared.evaluation.regression import ranks

Flags = Sequence[bool] | Sequence[int] | npt.NDArray[np.bool_] | npt.NDArray[np.integer]
Scores = Sequence[float] | npt.NDArray[np.floating]


def auroc(there: Flags, scores: Scores) -> float:
    """Return the chance that a row with it scores higher than one without, 0 to 1; a tie counts half.

    NaN when all rows, or none, have it. Mann and Whitney 1947.
    """
    real = np.asarray(there).astype(bool)
    yes, no = int(real.sum()), int((~real).sum())
    if not yes or not no:
        return float("nan")
    above = float(ranks(np.asarray(scores, np.float64))[real].sum()) - yes * (yes + 1) / 2
    return above / (yes * no)


def average_precision(there: Flags, scores: Scores) -> float:
    """Return the mean precision at the rows that have it, best score first, 0 to 1; NaN when none has.

    Rows of equal score are taken together, so the order of a file changes nothing.
    """
    real, values = np.asarray(there).astype(bool), np.asarray(scores, np.float64)
    if not real.any():
        return float("nan")
    order = np.argsort(-values, kind="stable")
    hits = np.cumsum(real[order])
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)  # the last row of each tie
    gained = np.diff(hits[last], prepend=0)
    return float(np.sum(gained * hits[last] / (last + 1)) / hits[-1])


def average_precision_each(
    queries: Sequence[Hashable], there: Flags, scores: Scores
) -> npt.NDArray[np.float64]:
    """Return (queries,) the average precision of each query's rows, in the order in which they come.

    Row i belongs to `queries[i]`. A query without a right row has NaN.
    """
    rows: dict[Hashable, list[int]] = {}
    for row, query in enumerate(queries):
        rows.setdefault(query, []).append(row)
    real, values = np.asarray(there).astype(bool), np.asarray(scores, np.float64)
    return np.asarray([average_precision(real[own], values[own]) for own in rows.values()], np.float64)
