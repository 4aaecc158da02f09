"""Full-catalogue rankings of held-out users: the product's and the plain ones, in one place."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.recommending.cases import Case
from services.recommender.candidates import candidates
from services.recommender.collaborative import ItemMatrix
from services.recommender.features import World, features, signals
from services.recommender.popularity import Popularity
from services.recommender.rank import Weights, order, scores
from services.recommender.slate import POOL, diversify
from shared.evaluation.ranking import ndcg_each, recall_each

K = 20
Ranker: TypeAlias = Callable[[Case, Collection[str], int], list[str]]
Figures: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Per user nDCG@20 and capped recall@20, and the share of the catalogue that any list holds."""

    ndcg: Figures
    recall: Figures
    coverage: float


def measure(
    ranker: Ranker, cases: Sequence[Case], catalogue: Collection[str], *, repeats: bool, k: int = K
) -> Measured:
    """Return the figures of `ranker` over `cases`; without `repeats` what was taken before is left out.

    It is left out of the lists and of the targets; users whose targets are all old are left out too.
    """
    ranked, targets = [], []
    for case in cases:
        wanted = case.targets if repeats else case.fresh
        if wanted:
            ranked.append(ranker(case, frozenset() if repeats else case.seen, k))
            targets.append(wanted)
    shown = {item_id for one in ranked for item_id in one[:k]}
    figures = ndcg_each(ranked, targets, k), recall_each(ranked, targets, k)
    return Measured(*figures, len(shown) / max(len(catalogue), 1))


def product(world: World, weights: Weights, trade: float = 0.0) -> Ranker:
    """Return the ranking that the service gives, before (`trade` 0) or after diversification."""

    def rank(case: Case, exclude: Collection[str], k: int) -> list[str]:
        found = signals(case.profile, world, weights.decay)
        ids = list(candidates(found, world, exclude=exclude))
        values = scores(features(found, ids, world), weights)
        best = order(ids, values)[: max(k * POOL, 50)]
        picked = diversify(values[best], world.index.vectors_of([ids[i] for i in best]), k, trade)
        return [ids[best[i]] for i in picked]

    return rank


def by_popularity(popularity: Popularity) -> Ranker:
    """Return the same list for everybody, without what each may not see."""

    def rank(_case: Case, exclude: Collection[str], k: int) -> list[str]:
        return [item_id for item_id in popularity.top(k + len(exclude)) if item_id not in exclude][:k]

    return rank


def by_matrix(matrix: ItemMatrix, decay: float = 1.0) -> Ranker:
    """Return the ranking by an item matrix alone over the user's whole history."""

    def rank(case: Case, exclude: Collection[str], k: int) -> list[str]:
        raw = matrix.scores(case.profile.weights(decay))
        best = np.argsort(-raw, kind="stable")[: k + len(exclude)]
        return [matrix.ids[i] for i in best if matrix.ids[i] not in exclude][:k]

    return rank


def by_repeats(case: Case, _exclude: Collection[str], k: int) -> list[str]:
    """Return what the user chose before, most often first, then newest."""
    own = sorted(
        case.profile.chosen().values(), key=lambda one: (-one.days, -one.last.timestamp(), one.item_id)
    )
    return [one.item_id for one in own[:k]]
