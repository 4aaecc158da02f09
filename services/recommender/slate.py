"""From scores to a slate: filters on every path, diversity on the final score."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from services.recommender.candidates import candidates
from services.recommender.contract import Reason
from services.recommender.domain import FloatArray, Item, Source
from services.recommender.features import Column, Signals, World, features
from services.recommender.rank import Weights, order, parts, scores
from services.recommender.reasons import Explainer

POOL = 3  # times k: from so many of the best the diverse ones are picked


@dataclass(frozen=True)
class Place:
    """One item of a slate with all that is said of it; `parts` add up to `score`."""

    item_id: str
    score: float
    source: Source
    reasons: tuple[Reason, ...]
    parts: Mapping[str, float]


def compose(
    found: Signals,
    world: World,
    weights: Weights,
    names: Mapping[str, Item],
    *,
    k: int,
    exclude: Collection[str] = (),
    trade: float = 0.0,
    question: str | None = None,
) -> list[Place]:
    """Return up to k places, best first after diversification; nothing of `exclude`, each item once.

    `names` are the items that may be shown or named as a reason.
    """
    sources = candidates(found, world, exclude=exclude)
    ids = [item_id for item_id in sources if item_id in names]
    if not ids:
        return []
    table = features(found, ids, world)
    values = scores(table, weights)
    best = order(ids, values)[: max(k * POOL, 50)]
    vectors = world.index.vectors_of([ids[i] for i in best])
    picked = [best[i] for i in diversify(values[best], vectors, k, trade)]
    split = parts(table, weights)
    explainer, without = Explainer(found, world, weights, names, question), dict[str, Signals]()
    return [
        Place(
            ids[i],
            float(values[i]),
            sources[ids[i]],
            tuple(explainer.reasons(ids[i], without)),
            {name: float(column[i]) for name, column in split.items()},
        )
        for i in picked
    ]


def favourites(world: World, names: Mapping[str, Item], k: int) -> list[Place]:
    """Return what is popular, then the rest of the catalogue by id: the answer for who is not known."""
    counts = world.popularity.counts
    ids = [*world.popularity.top(len(counts)), *sorted(i for i in world.known if i not in counts)]
    places = []
    for item_id in ids:
        if item_id in names and item_id in world.known:
            places.append(_favourite(item_id, counts.get(item_id, 0), max(counts.values(), default=1)))
        if len(places) == k:
            break
    return places


def _favourite(item_id: str, count: int, most: int) -> Place:
    score = count / most
    said = (Reason(kind="popular", text=f"popular now: chosen {count} times lately"),) if count else ()
    return Place(item_id, score, "popular" if count else "new", said, {"popular": score})


def diversify(values: Column, vectors: FloatArray, k: int, trade: float) -> list[int]:
    """Return positions of up to k rows by maximal marginal relevance, the first is the best score.

    `values` (n,) in falling order, `vectors` (n, dim) unit or zero rows (a zero row is like nothing).
    Each pick maximises (1 - trade) * relevance - trade * its largest cosine with those picked, with
    relevance scaled to 0..1 over the rows; ties go to the earlier row. trade 0 keeps the order.
    """
    n = len(values)
    if trade <= 0 or n <= 1:
        return list(range(min(k, n)))
    low, high = float(values.min()), float(values.max())
    relevance = (values - low) / (high - low) if high > low else np.ones(n)
    nearest = np.full(n, -np.inf)
    picked: list[int] = []
    free = np.ones(n, dtype=bool)
    while len(picked) < min(k, n):
        worth = relevance if not picked else (1 - trade) * relevance - trade * np.maximum(nearest, 0.0)
        best = int(np.argmax(np.where(free, worth, -np.inf)))
        picked.append(best)
        free[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])  # one product per pick
    return picked
