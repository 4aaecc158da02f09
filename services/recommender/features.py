"""The one way from a profile to numbers, in training and in serving; it reads nothing later."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.recommender.collaborative import ItemMatrix
from services.recommender.domain import FloatArray
from services.recommender.popularity import Popularity
from services.recommender.profiles import Profile
from shared.index.vector import VectorIndex

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean (dim,) and covariance (dim, dim) of a catalogue's vectors: any query's mean and spread follow."""

    mean: Column
    covariance: Column

    @classmethod
    def of(cls, vectors: FloatArray) -> "Moments":
        """Return the moments of `vectors` (n, dim); none give a spread of nothing."""
        dim = vectors.shape[1]
        if not len(vectors):
            return cls(np.zeros(dim), np.zeros((dim, dim)))
        wide = vectors.astype(np.float64)
        mean = wide.mean(axis=0)
        return cls(mean, wide.T @ wide / len(wide) - np.outer(mean, mean))

    def standardise(self, query: Column, cosines: Column) -> Column:
        """Return the z values of `cosines` with `query` (dim,), as if all items had been scored."""
        spread = max(float(query @ self.covariance @ query), 0.0) ** 0.5
        return (cosines - float(query @ self.mean)) / spread if spread > 1e-9 else np.zeros_like(cosines)


@dataclass(frozen=True)
class World:
    """What is known beside the profile: text vectors, the learned matrix and the favourites of the time.

    `known` are the ids in `index`: the catalogue as it is. `cold` are those of it with too few
    training events for the matrix to say anything.
    """

    index: VectorIndex
    known: Collection[str]
    cold: Collection[str]
    moments: Moments
    matrix: ItemMatrix = field(default_factory=ItemMatrix.empty)
    popularity: Popularity = field(default_factory=Popularity)


@dataclass(frozen=True)
class Signals:
    """What a profile says before any candidate is looked at: computed once per request.

    `behaviour` (n of the matrix) are raw sums, `text` (dim,) is a unit vector; each None when the
    history has nothing to say there.
    """

    profile: Profile
    decay: float
    behaviour: FloatArray | None
    text: Column | None


@dataclass(frozen=True)
class Features:
    """One column per feature, one row per candidate in `ids`; z values are over the whole catalogue."""

    ids: list[str]
    behaviour: Column
    text: Column
    repeat: Column  # 0 unless chosen before
    again: Column  # what is popular among the items chosen before, 0 to 1
    popular: Column  # 0 to 1
    events: Column


def signals(profile: Profile, world: World, decay: float, *, question: FloatArray | None = None) -> Signals:
    """Return the signals of a history, or of the text vector `question` (dim,) in its place."""
    weights = profile.weights(decay)
    behaviour = world.matrix.scores(weights) if any(i in world.matrix.place for i in weights) else None
    text = _mean_vector(weights, world) if question is None else question.astype(np.float64)
    return Signals(profile, decay, behaviour, text)


def features(found: Signals, ids: Sequence[str], world: World) -> Features:
    """Return the features of the candidates `ids`, all of them in the index."""
    popular = _popular(ids, world.popularity)
    repeat = _repeat(found.profile, ids)
    return Features(
        list(ids),
        _behaviour(found.behaviour, ids, world.matrix),
        _text(found.text, ids, world),
        repeat,
        popular * (repeat > 0),
        popular,
        world.matrix.count(ids),
    )


def _repeat(profile: Profile, ids: Sequence[str]) -> Column:
    chosen = profile.chosen()
    own = [(chosen[i].days, chosen[i].recent) if i in chosen else (0, 0.0) for i in ids]
    total: Column = np.log1p(np.array(own, dtype=np.float64).reshape(-1, 2)).sum(axis=1)
    return total


def _mean_vector(weights: dict[str, float], world: World) -> Column | None:
    known = [item_id for item_id in weights if item_id in world.known]
    if not known:
        return None
    total: Column = np.array([weights[i] for i in known]) @ world.index.vectors_of(known).astype(np.float64)
    length = float(np.linalg.norm(total))
    return total / length if length > 1e-9 else None


def _behaviour(raw: FloatArray | None, ids: Sequence[str], matrix: ItemMatrix) -> Column:
    if raw is None:
        return np.zeros(len(ids))
    mean, spread = float(raw.mean(dtype=np.float64)), float(raw.std(dtype=np.float64))
    mine = np.array([raw[matrix.place[i]] if i in matrix.place else 0.0 for i in ids], dtype=np.float64)
    return (mine - mean) / spread if spread > 1e-12 else np.zeros(len(ids))


def _text(query: Column | None, ids: Sequence[str], world: World) -> Column:
    if query is None or not ids:
        return np.zeros(len(ids))
    cosines = world.index.vectors_of(ids).astype(np.float64) @ query  # (candidates,)
    return world.moments.standardise(query, cosines)


def _popular(ids: Sequence[str], popularity: Popularity) -> Column:
    most = max(popularity.counts.values(), default=0)
    if not most:
        return np.zeros(len(ids))
    shares: Column = np.log1p([float(popularity.counts.get(i, 0)) for i in ids]) / np.log1p(float(most))
    return shares
