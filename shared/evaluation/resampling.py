"""A 95 % interval for any figure: rows are drawn again with replacement."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.evaluation.classification import DRAWS, Interval

Column = npt.NDArray[Any]


def interval(
    metric: Callable[..., float],
    *columns: Sequence[Any] | Column,
    seed: int = 0,
    draws: int = DRAWS,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """Return (value, low, high) of `metric(*columns)` and its 95 % percentile interval.

    The columns are equally long; row i of each belongs together and is drawn together. With `groups`, one
    value a row, whole groups are drawn: rows of one query or document are not independent. A draw in which
    the metric is no number (a class missing) is left out; all such, or no rows, give NaN. Efron 1979.
    """
    arrays = [np.asarray(column) for column in columns]
    value = float(metric(*arrays))
    if not len(arrays[0]):
        return value, float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    pick = _row_picker(len(arrays[0]), groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.asarray([metric(*_taken(arrays, pick(rng))) for _ in range(draws)], np.float64)
    kept = values[~np.isnan(values)]
    if not len(kept):
        return value, float("nan"), float("nan")
    low, high = np.percentile(kept, [2.5, 97.5])
    return value, float(low), float(high)


def as_codes(*columns: Sequence[Any]) -> list[npt.NDArray[np.int64]]:
    """Return the columns with every distinct value as one whole number, the same in all of them.

    Metrics of labels give the same figure on numbers as on names, many times faster. Numbers go by the
    sorted order of the values as text.
    """
    texts = [np.asarray(column, dtype=str) for column in columns]
    _, codes = np.unique(np.concatenate(texts), return_inverse=True)
    return [part.astype(np.int64) for part in np.split(codes, np.cumsum([len(t) for t in texts])[:-1])]


def _taken(arrays: list[Column], rows: Column) -> list[Column]:
    return [array[rows] for array in arrays]


def _row_picker(count: int, groups: Sequence[Hashable] | None) -> Callable[[np.random.Generator], Column]:
    if groups is None:
        return lambda rng: rng.integers(0, count, count)
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    blocks = [np.asarray(rows) for rows in members.values()]
    return lambda rng: np.concatenate([blocks[i] for i in rng.integers(0, len(blocks), len(blocks))])
