"""The same figure on parts of the rows: by length, by source, by class."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from shared.evaluation.resampling import interval
from shared.text.words import words

LENGTHS = (5, 10, 20, 50)  # words; a Han or kana sign is one
LEAST = 10  # rows; an interval of fewer says nothing


class Slice(NamedTuple):
    """A figure and its 95 % interval on the rows of one part."""

    name: str
    rows: int
    value: float
    low: float
    high: float


def sliced(
    metric: Callable[..., float],
    names: Sequence[Hashable],
    *columns: Sequence[Any],
    least: int = LEAST,
    seed: int = 0,
    draws: int = 1000,
) -> list[Slice]:
    """Return the metric on the rows of each name, worst first, equal ones by name.

    `names` has one part a row; None is no part. Parts of under `least` rows are left out. A figure that is
    no number comes last.
    """
    arrays = [np.asarray(column) for column in columns]
    rows: dict[Hashable, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None:
            rows.setdefault(name, []).append(row)
    found = [
        Slice(str(name), len(own), *interval(metric, *(a[own] for a in arrays), seed=seed, draws=draws))
        for name, own in rows.items()
        if len(own) >= least
    ]
    return sorted(found, key=lambda one: (np.isnan(one.value), one.value, one.name))


def length_names(texts: Sequence[str]) -> list[str]:
    """Return for each text its length in words as a range: "0-5 words" to "51+ words"."""
    return [_range(len(words(text))) for text in texts]


def _range(count: int) -> str:
    low = 0
    for high in LENGTHS:
        if count <= high:
            return f"{low}-{high} words"
        low = high + 1
    return f"{low}+ words"
