"""Figures of ranked lists. A list has distinct ids, best first; `relevant` are the right ids of its query."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

Lists = Sequence[Sequence[str]]
Relevant = Sequence[Collection[str]]
PerQuery = npt.NDArray[np.float64]


def ndcg_each(ranked: Lists, relevant: Relevant, k: int) -> PerQuery:
    """Return nDCG@k of each query with binary gains, 0 to 1; NaN for one without relevant ids.

    The ideal list has min(k, number of relevant) hits at its top.
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    values = []
    for found, right in zip(ranked, relevant, strict=True):
        gains = sum(discounts[place] for place, one in enumerate(found[:k]) if one in right)
        values.append(gains / discounts[: len(right)].sum() if right else np.nan)
    return np.asarray(values, np.float64)


def recall_each(ranked: Lists, relevant: Relevant, k: int) -> PerQuery:
    """Return by query the hits in the first k over min(k, number of relevant); NaN without relevant ids."""
    values = [
        len(set(found[:k]) & set(right)) / min(k, len(right)) if right else np.nan
        for found, right in zip(ranked, relevant, strict=True)
    ]
    return np.asarray(values, np.float64)


def reciprocal_each(ranked: Lists, relevant: Relevant, k: int | None = None) -> PerQuery:
    """Return by query 1 / rank of the first hit (0 for none in the first k); NaN without relevant ids."""
    values = []
    for found, right in zip(ranked, relevant, strict=True):
        rank = next((place + 1 for place, one in enumerate(found[:k]) if one in right), None)
        values.append((1 / rank if rank else 0.0) if right else np.nan)
    return np.asarray(values, np.float64)


def ndcg_at_k(ranked: Lists, relevant: Relevant, k: int) -> float:
    """Return the mean nDCG@k over the queries that have relevant ids, 0 to 1; NaN when none has."""
    return mean(ndcg_each(ranked, relevant, k))


def recall_at_k(ranked: Lists, relevant: Relevant, k: int) -> float:
    """Return the mean capped recall@k over the queries that have relevant ids, 0 to 1; NaN when none has."""
    return mean(recall_each(ranked, relevant, k))


def mrr(ranked: Lists, relevant: Relevant, k: int | None = None) -> float:
    """Return the mean reciprocal rank over the queries that have relevant ids, 0 to 1; NaN when none has."""
    return mean(reciprocal_each(ranked, relevant, k))


def mean(values: PerQuery) -> float:
    """Return the mean of what is no NaN; NaN when nothing is left."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def bootstrap_mean(values: PerQuery, *, seed: int = 0, draws: int = 1000) -> tuple[float, float, float]:
    """Return (mean, low, high): a 95 % percentile interval over resampled queries; NaN is left out."""
    kept = values[~np.isnan(values)]
    if not len(kept):
        return (float("nan"),) * 3
    rng = np.random.default_rng(seed)
    means = [kept[rng.integers(0, len(kept), len(kept))].mean() for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(kept.mean()), float(low), float(high)


def paired_difference(
    one: PerQuery, other: PerQuery, *, seed: int = 0, draws: int = 1000
) -> tuple[float, float, float]:
    """Return (mean, low, high) of one - other, query by query; both must be of the same queries in order."""
    return bootstrap_mean(np.asarray(one) - np.asarray(other), seed=seed, draws=draws)
