"""The blend's weights, chosen on validation users over the features that serving uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.recommending.cases import Case
from services.recommender.candidates import candidates
from services.recommender.features import Features, World, features, signals
from services.recommender.rank import Weights, scores

K = 20
DECAYS = (0.8, 0.9, 0.95, 0.99)
# One weight after the other, twice over: a full grid of them finds the same and takes ten times as long.
STEPS: dict[str, tuple[float, ...]] = {
    "half": (0.5, 1.0, 3.0, 10.0, 30.0),
    "text": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 2.0),
    "cold": (0.4, 0.8, 1.2, 1.6, 2.4),
    "popular": (0.0, 0.3, 0.6, 1.0, 1.5, 2.0),
}
REPEATS = tuple(product((0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0), (0.0, 0.5, 1.0, 2.0, 4.0)))
WORTH = 0.003  # of the figure; a smaller gain is chance, and would carry a weight to the end of its range
MANY = 1_500  # validation users beyond this cost time and change no choice


@dataclass(frozen=True)
class Table:
    """The features of all candidates of all cases, padded to (cases, widest); `ideal` is the best DCG."""

    columns: Features
    there: NDArray[np.bool_]
    relevant: NDArray[np.bool_]
    ideal: NDArray[np.float64]

    def ndcg(self, weights: Weights, k: int = K) -> NDArray[np.float64]:
        """Return nDCG@k per case under `weights`."""
        values = np.where(self.there, scores(self.columns, weights), -np.inf)
        k = min(k, values.shape[1])
        best = np.argpartition(-values, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(
            best, np.argsort(-np.take_along_axis(values, best, 1), axis=1, kind="stable"), 1
        )
        gains = np.take_along_axis(self.relevant, best, 1) / np.log2(np.arange(2, k + 2))
        result: NDArray[np.float64] = gains.sum(axis=1) / self.ideal
        return result


def table_of(cases: Sequence[Case], world: World, decay: float, *, repeats: bool, k: int = K) -> Table:
    """Return the table of `cases`; without `repeats` nothing taken before is candidate or target."""
    rows, hits, wanted = [], [], []
    for case in cases:
        found = signals(case.profile, world, decay)
        ids = list(candidates(found, world, exclude=() if repeats else case.seen))
        targets = set(case.targets if repeats else case.fresh)
        rows.append(features(found, ids, world))
        hits.append(np.array([item_id in targets for item_id in ids], dtype=bool))
        wanted.append(min(k, len(targets)))
    width = max([k, *(len(row.ids) for row in rows)])
    discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    return Table(
        _padded(rows, width),
        np.arange(width) < np.array([len(row.ids) for row in rows])[:, None],
        np.array([np.pad(hit, (0, width - len(hit))) for hit in hits]),
        discounts[wanted],
    )


def _padded(rows: Sequence[Features], width: int) -> Features:
    def stack(name: str) -> Any:
        return np.array([np.pad(getattr(row, name), (0, width - len(row.ids))) for row in rows])

    return Features(
        [], *(stack(name) for name in ("behaviour", "text", "repeat", "again", "popular", "events"))
    )


def choose(cases: Sequence[Case], world: World, *, repeats: bool) -> tuple[Weights, float]:
    """Return the weights with the best mean nDCG@20 on `cases`, and that mean; the first of equals.

    The blend is chosen on what is new to each user; with `repeats` the weights of repetition follow
    on all targets. Without any usable case the defaults come back, with 0.
    """
    fresh = [case for case in cases if case.fresh][:MANY]
    if not fresh:
        return Weights(), 0.0
    tables = {decay: table_of(fresh, world, decay, repeats=False) for decay in DECAYS}
    best = max((Weights(decay=decay) for decay in DECAYS), key=lambda w: _mean(tables[w.decay], w))
    for name, values in [*STEPS.items(), ("decay", DECAYS), *STEPS.items()]:
        tried = [best, *(best.model_copy(update={name: value}) for value in values)]
        found = max(tried, key=lambda w: _mean(tables[w.decay], w))
        if _mean(tables[found.decay], found) > _mean(tables[best.decay], best) * (1 + WORTH):
            best = found
    if not repeats:
        return best, _mean(tables[best.decay], best)
    table = table_of(cases[:MANY], world, best.decay, repeats=True)
    tried = [best.model_copy(update={"repeat": value, "again": again}) for value, again in REPEATS]
    best = max(tried, key=lambda w: _mean(table, w))
    return best, _mean(table, best)


def _mean(table: Table, weights: Weights) -> float:
    return float(table.ndcg(weights).mean())
