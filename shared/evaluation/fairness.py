"""How differently a classifier treats groups of people or sources."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shared.errors import BadInput
from shared.evaluation.classification import DRAWS

Mask = npt.NDArray[np.bool_]
Rate = Callable[[Mask, Mask, Mask], float]  # right, said the wanted label, has the wanted label
LEAST = 20  # rows of a group


class Gap(NamedTuple):
    """How far `value` is the measure of group `high_group` above that of `low_group`, with its 95 % interval.

    The two groups are those with the largest and the smallest figure, so a small gap is there by chance
    alone: look whether `low` is above 0.
    """

    measure: str
    high_group: str
    low_group: str
    value: float
    low: float
    high: float


def gaps(
    truth: Sequence[str],
    predicted: Sequence[str],
    groups: Sequence[Any],
    *,
    wanted: str,
    least: int = LEAST,
    seed: int = 0,
    draws: int = DRAWS,
) -> list[Gap]:
    """Return the gaps in accuracy, selection rate and equal opportunity, in this order.

    Selection rate is the share of rows said to be `wanted`; equal opportunity the share of rows that are
    `wanted` and said to be (Hardt et al. 2016). Rows are drawn anew within each group. Groups of under
    `least` rows (None is no group) are left out, and a measure that fewer than two groups have, too. Raises
    BadInput with fewer than two groups.
    """
    real, said = np.asarray(truth), np.asarray(predicted)
    rows = {str(group): np.flatnonzero([one == group for one in groups]) for group in _distinct(groups)}
    rows = {group: own for group, own in rows.items() if len(own) >= least}
    if len(rows) < 2:
        raise BadInput(
            f"gaps need two groups of at least {least} rows; there are {', '.join(rows) or 'none'}"
        )
    parts = {g: (real[own] == said[own], said[own] == wanted, real[own] == wanted) for g, own in rows.items()}
    found = (_gap(name, rate, parts, np.random.default_rng(seed), draws) for name, rate in _RATES.items())
    return [one for one in found if one is not None]


def _distinct(groups: Sequence[Any]) -> list[Any]:
    return sorted({group for group in groups if group is not None}, key=str)


def _gap(
    name: str, rate: Rate, parts: dict[str, tuple[Mask, Mask, Mask]], rng: np.random.Generator, draws: int
) -> Gap | None:
    values = {group: rate(*part) for group, part in parts.items()}
    known = {group: value for group, value in values.items() if not np.isnan(value)}
    if len(known) < 2:
        return None
    top, bottom = max(known, key=lambda g: known[g]), min(known, key=lambda g: known[g])
    differences = [_drawn(rate, parts[top], rng) - _drawn(rate, parts[bottom], rng) for _ in range(draws)]
    low, high = np.nanpercentile(differences, [2.5, 97.5])
    return Gap(name, top, bottom, known[top] - known[bottom], float(low), float(high))


def _drawn(rate: Rate, part: tuple[Mask, Mask, Mask], rng: np.random.Generator) -> float:
    pick = rng.integers(0, len(part[0]), len(part[0]))
    return rate(*(column[pick] for column in part))


def _mean(values: Mask) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


_RATES: dict[str, Rate] = {
    "accuracy": lambda right, said, real: _mean(right),
    "selection_rate": lambda right, said, real: _mean(said),
    "equal_opportunity": lambda right, said, real: _mean(said[real]),
}
