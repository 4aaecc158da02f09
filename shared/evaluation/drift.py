"""Whether two samples come from one source: what a model was measured on, and what it is given now.

Every figure comes with the share of random divisions of both samples together that lie at least as far apart
(a permutation test), so that few rows raise no alarm. With a large sample every difference is beyond chance:
whether it matters, the figure itself says.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

DRAWS = 499
_HALF = 0.5  # a row beside every count, so that a label that one side lacks has no infinite weight

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


class Shift(NamedTuple):
    """How far apart two samples are, 0 for not at all, and the chance of at least that without a difference.

    `p_value` is above 0 and at most 1, in steps of 1 / (draws + 1).
    """

    value: float
    p_value: float


def psi(reference: Codes, current: Codes, *, draws: int = DRAWS, seed: int = 0) -> Shift:
    """Return the population stability index of category numbers (n,) and (m,), from 0 on.

    The sum over categories of (q - p) log(q / p) with p and q their shares (Siddiqi 2006, Credit Risk
    Scorecards); by custom a shift from .1 on deserves a look and one from .25 on an answer. Raises
    ValueError for an empty sample.
    """
    every = np.concatenate([reference, current])
    kinds, codes = np.unique(every, return_inverse=True)

    def apart(first: Codes, second: Codes) -> float:
        p, q = (
            (np.bincount(codes[side], minlength=len(kinds)) + _HALF) / (len(side) + _HALF * len(kinds))
            for side in (first, second)
        )
        return float(((q - p) * np.log(q / p)).sum())

    return _shift(apart, len(reference), len(current), draws, seed)


def ks(reference: Array, current: Array, *, draws: int = DRAWS, seed: int = 0) -> Shift:
    """Return the largest distance between the distribution functions of two samples, 0 to 1
    (Kolmogorov-Smirnov). Raises ValueError for an empty sample."""
    order = np.argsort(np.concatenate([reference, current]), kind="stable")
    values = np.concatenate([reference, current])[order]
    last = np.append(values[1:] != values[:-1], True)  # equal numbers are one step of both functions

    def apart(first: Codes, second: Codes) -> float:
        rises = np.zeros(len(values))
        rises[first], rises[second] = 1 / len(first), -1 / len(second)
        return float(np.abs(np.cumsum(rises[order])[last]).max())

    return _shift(apart, len(reference), len(current), draws, seed)


def energy(
    reference: npt.NDArray[np.floating],
    current: npt.NDArray[np.floating],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Shift:
    """Return how unlike two clouds of vectors (n, dim) and (m, dim) are, 0 to 1.

    The energy distance as a share of the mean distance between the samples (Szekely and Rizzo 2013, Energy
    statistics). Memory grows with (n + m)^2: 8 MB for a thousand rows together. Raises ValueError for an
    empty sample.
    """
    n, m = _sizes(len(reference), len(current))
    every = np.concatenate([reference, current]).astype(np.float64)
    squares = (every**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * every @ every.T, 0))
    np.fill_diagonal(distances, 0)
    rng, first = np.random.default_rng(seed), np.repeat([1.0, 0.0], [n, m])
    sides = np.stack([first, *(rng.permutation(first) for _ in range(draws))])  # all divisions at once
    inside = ((sides @ distances) * sides).sum(1)
    across = sides @ distances.sum(1) - inside
    beyond = distances.sum() - inside - 2 * across
    between = 2 * across / (n * m)
    # Without a row's distance of 0 to itself: else few rows would seem apart where they are not.
    apart = between - inside / (n * max(1, n - 1)) - beyond / (m * max(1, m - 1))
    found = np.divide(apart, between, out=np.zeros_like(apart), where=between > 0)
    return _against(float(found[0]), found[1:])


def _shift(apart: Callable[[Codes, Codes], float], n: int, m: int, draws: int, seed: int) -> Shift:
    _sizes(n, m)
    rng, every = np.random.default_rng(seed), np.arange(n + m)
    mixed = (rng.permutation(every) for _ in range(draws))
    others = np.asarray([apart(one[:n], one[n:]) for one in mixed])
    return _against(apart(every[:n], every[n:]), others)


def _against(found: float, others: Array) -> Shift:
    return Shift(max(0.0, found), float(1 + (others >= found - 1e-12).sum()) / (len(others) + 1))


def _sizes(n: int, m: int) -> tuple[int, int]:
    if not n or not m:
        raise ValueError(f"samples of {n} and {m} rows can't be compared; both need one")
    return n, m
