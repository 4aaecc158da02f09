"""From events and vectors to a ranker: settings on the validation part, one judgement on the test part."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from pipelines.recommending.cases import Case, Cuts, before, cases_between
from pipelines.recommending.choosing import choose
from pipelines.recommending.matrices import interactions, knn, learn
from pipelines.recommending.measuring import (
    Measured,
    Ranker,
    by_matrix,
    by_popularity,
    by_repeats,
    measure,
    product,
)
from services.recommender.bundle import Ranking
from services.recommender.candidates import cold_items
from services.recommender.collaborative import ItemMatrix
from services.recommender.domain import Act, FloatArray
from services.recommender.events import Like
from services.recommender.features import Moments, World
from services.recommender.popularity import Popularity, popular_at
from shared.errors import BadInput
from shared.index.flat import FlatIndex

SMALL = 4_000  # items; above, one inversion takes half a minute and few are tried
REPEATED = 0.15  # share of choices that repeat an earlier one, from which repeats may be shown
SAMPLE = 500  # validation users that decide between matrices
_FIRST_DECAY = 0.95
VARIANTS = ("product, diversified", "text alone")  # of the product, measured beside it
TEXT_ALONE = {"half": 1e9, "popular": 0.0, "repeat": 0.0}


@dataclass(frozen=True)
class Data:
    """What is learned from: ids of the catalogue (sorted), events by time, and where the time is cut."""

    ids: list[str]
    acts: Sequence[Act]
    cuts: Cuts
    like: Like | None = None

    @cached_property
    def valid(self) -> list[Case]:
        """The users of the validation part."""
        return self._cases(before(self.acts, self.cuts.test), self.cuts.valid, self.cuts.test)

    @cached_property
    def test(self) -> list[Case]:
        """The users of the test part."""
        return self._cases(self.acts, self.cuts.test, None)

    def _cases(self, acts: Sequence[Act], start: datetime, end: datetime | None) -> list[Case]:
        found, _ = cases_between(acts, start, end, like=self.like, catalogue=set(self.ids))
        if not found:
            raise BadInput(
                f"no user has events both before {start:%Y-%m-%d %H:%M} and after it; give a longer history"
            )
        return found

    def matrix(self, settings: dict[str, Any], cut: datetime | None) -> ItemMatrix:
        """Return the matrix learned from the events before `cut` (None: from all)."""
        return learn(*self._learned(cut), settings)

    def neighbours(self, cut: datetime | None) -> ItemMatrix:
        """Return the plain item-kNN of the events before `cut`."""
        return knn(*self._learned(cut))

    def popularity(self, window: timedelta, cut: datetime | None) -> Popularity:
        """Return what was popular in the `window` that ends with the last event before `cut`."""
        acts = self.acts if cut is None else before(self.acts, cut)
        return popular_at(acts, max(act.ts for act in acts), like=self.like, window=window)

    def _learned(self, cut: datetime | None) -> tuple[Any, list[str], Any]:
        acts = self.acts if cut is None else before(self.acts, cut)
        matrix, events = interactions(acts, self.ids, self.like)
        return matrix, self.ids, events


def world_of(data: Data, vectors: FloatArray, matrix: ItemMatrix, popularity: Popularity) -> World:
    """Return the world of `vectors` (len(ids), dim), one row per id of the data."""
    index = FlatIndex(vectors.shape[1])
    index.add(data.ids, vectors)
    events = dict(zip(matrix.ids, matrix.events.tolist(), strict=True))
    return World(index, set(data.ids), cold_items(data.ids, events), Moments.of(vectors), matrix, popularity)


@dataclass(frozen=True)
class Plan:
    """What does not depend on the encoder: the matrix for validation, and the ranking without weights."""

    ranking: Ranking
    matrix: ItemMatrix
    popularity: Popularity
    tried: dict[str, float]


def plan(data: Data) -> Plan:
    """Choose matrix, window and whether repeats are shown, all on the validation part."""
    repeats = repeated(data.valid) >= REPEATED
    cut, sample = data.cuts.valid, data.valid[:: max(1, len(data.valid) // SAMPLE)]
    tried: dict[str, float] = {}
    best: tuple[float, dict[str, Any], ItemMatrix] | None = None
    for settings in _matrices(len(data.ids)):
        matrix = data.matrix(settings, cut)
        value = _mean(by_matrix(matrix, _FIRST_DECAY), sample, data.ids, repeats=False)
        tried[" ".join(map(str, settings.values()))] = value
        if best is None or value > best[0]:
            best = value, settings, matrix
    assert best is not None  # noqa: S101 - there is always a matrix to try
    windows = [data.popularity(window, cut) for window in _windows(before(data.acts, cut))]
    popularity = max(windows, key=lambda p: _mean(by_popularity(p), sample, data.ids, repeats=repeats))
    ranking = Ranking(
        repeats=repeats,
        like=str(data.like) if data.like else None,
        window_s=popularity.window.total_seconds(),
        matrix=best[1],
    )
    return Plan(ranking, best[2], popularity, tried)


def with_weights(data: Data, made: Plan, vectors: FloatArray) -> tuple[Ranking, float]:
    """Return the ranking with the weights that fit these vectors best, and its validation nDCG@20."""
    world = world_of(data, vectors, made.matrix, made.popularity)
    weights, value = choose(data.valid, world, repeats=made.ranking.repeats)
    return made.ranking.model_copy(update={"weights": weights}), value


def judge(
    data: Data, ranking: Ranking, vectors: FloatArray, *, repeats: bool | None = None, trade: float = 0.1
) -> dict[str, Measured]:
    """Return the test figures by name: the product's and the plain methods', over the same users.

    Every method learns from all events before the test part. `repeats` overrides the ranking's.
    """
    shown = ranking.repeats if repeats is None else repeats
    cut, decay = data.cuts.test, ranking.weights.decay
    matrix = data.matrix(ranking.matrix, cut)
    popularity, neighbours = data.popularity(ranking.window, cut), data.neighbours(cut)
    world = world_of(data, vectors, matrix, popularity)
    rankers: dict[str, Ranker] = {
        "product": product(world, ranking.weights),
        "product, diversified": product(world, ranking.weights, trade),
        "text alone": product(world, ranking.weights.model_copy(update=TEXT_ALONE)),
        "popularity": by_popularity(popularity),
        "item-kNN": by_matrix(neighbours),
        "item-kNN, recency": by_matrix(neighbours, decay),
        ranking.matrix["kind"] + ", recency": by_matrix(matrix, decay),
        ranking.matrix["kind"]: by_matrix(matrix),
    }
    if shown:
        rankers["own items by count"] = by_repeats
    return {name: measure(ranker, data.test, data.ids, repeats=shown) for name, ranker in rankers.items()}


def repeated(cases: Sequence[Case]) -> float:
    """Return the share of targets that their users had chosen before."""
    whole = sum(len(case.targets) for case in cases)
    return sum(len(case.targets) - len(case.fresh) for case in cases) / max(whole, 1)


def _matrices(items: int) -> list[dict[str, Any]]:
    penalties = (100.0, 300.0, 1000.0) if items <= SMALL else (200.0,)
    return [{"kind": "knn", "shrink": 20.0}, *({"kind": "ease", "penalty": value} for value in penalties)]


def _windows(acts: Sequence[Act]) -> list[timedelta]:
    """Return windows to try: days where the span has many of them, else shares of it."""
    span = max(act.ts for act in acts) - min(act.ts for act in acts) + timedelta(seconds=1)
    if span > timedelta(days=21):
        return [timedelta(days=7), timedelta(days=30), span]
    return [span * 0.05, span * 0.1, span * 0.3, span]


def _mean(ranker: Ranker, cases: Sequence[Case], ids: Sequence[str], *, repeats: bool) -> float:
    figures = measure(ranker, cases, ids, repeats=repeats).ndcg
    return round(float(figures.mean()), 4) if len(figures) else 0.0
