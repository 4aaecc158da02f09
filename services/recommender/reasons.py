"""Why an item is on a slate: reasons that were checked by taking them away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.recommender.contract import Reason
from services.recommender.domain import Item
from services.recommender.features import Column, Signals, World, features, signals
from services.recommender.rank import Weights, parts, scores
from shared.text.words import words

_TRIED = 3  # items of the history that are checked as the reason of one place
_SHORTEST = 4  # letters; shorter shared words ("with", "and") explain nothing
_COMMON = frozenset(
    "that this with from have your into than then them they what when where will each".split()
)


@dataclass(frozen=True)
class Explainer:
    """Finds reasons by taking them away: an item is named only if the score falls without it.

    `names` are the items that may be named; `question` is the text that was asked, if any.
    """

    found: Signals
    world: World
    weights: Weights
    names: Mapping[str, Item]
    question: str | None = None

    def reasons(self, item_id: str, without: dict[str, Signals]) -> list[Reason]:
        """Return the reasons of `item_id`, strongest first, maybe none; `without` is a cache of the slate."""
        table = features(self.found, [item_id], self.world)
        shares = {name: float(column[0]) for name, column in parts(table, self.weights).items()}
        if self.question is not None:
            return [self._asked(item_id)] if shares["text"] > 0 else self._popular(item_id, shares)
        total = float(scores(table, self.weights)[0])
        for source in self._strongest(item_id, shares):
            if source not in without:
                profile = self.found.profile.without(source)
                without[source] = signals(profile, self.world, self.found.decay)
            rest = features(without[source], [item_id], self.world)
            if float(scores(rest, self.weights)[0]) < total - 1e-9:
                return [self._named(item_id, source, shares), *self._also(item_id, shares)]
        return self._popular(item_id, shares)

    def _strongest(self, item_id: str, shares: Mapping[str, float]) -> list[str]:
        """Return the items of the history that add most to the score, most first."""
        own = self.found.profile.weights(self.found.decay)
        known = [j for j in own if j in self.names]
        if not known:
            return []
        near = self._cosines(item_id, known)
        adds = np.array([own[j] * self.world.matrix.adds(j, item_id) for j in known])
        taste = np.array([own[j] for j in known]) * near
        gain = _shared(adds, shares["behaviour"]) + _shared(taste, shares["text"])
        gain += np.array([shares["repeat"] if j == item_id else 0.0 for j in known])
        best = sorted(range(len(known)), key=lambda i: (-gain[i], known[i]))[:_TRIED]
        return [known[i] for i in best if gain[i] > 0]

    def _cosines(self, item_id: str, others: Sequence[str]) -> Column:
        if item_id not in self.world.known:
            return np.zeros(len(others))
        there = [j for j in others if j in self.world.known]
        mine = self.world.index.vectors_of([item_id])[0].astype(np.float64)
        rows = self.world.index.vectors_of(there).astype(np.float64) if there else np.zeros((0, len(mine)))
        near = dict(zip(there, (rows @ mine).tolist(), strict=True))
        return np.array([near.get(j, 0.0) for j in others])

    def _named(self, item_id: str, source: str, shares: Mapping[str, float]) -> Reason:
        title = self.names[source].title
        if source == item_id and source not in self.found.profile.chosen():
            return Reason(kind="similar_to", text="you looked at this before", item_id=source, title=title)
        if source == item_id:
            return Reason(kind="bought_before", text="you chose this before", item_id=source, title=title)
        if shares["text"] > shares["behaviour"]:
            shared = shared_words(self.names[item_id].text, self.names[source].text)
            return Reason(
                kind="similar_to", text=f"reads like {title}", item_id=source, title=title, words=shared
            )
        return Reason(kind="similar_to", text=f"often chosen with {title}", item_id=source, title=title)

    def _asked(self, item_id: str) -> Reason:
        shared = shared_words(self.names[item_id].text, self.question or "")
        text = f"matches {', '.join(shared)}" if shared else "close in meaning to what you asked for"
        return Reason(kind="text_match", text=text, words=shared)

    def _also(self, item_id: str, shares: Mapping[str, float]) -> list[Reason]:
        return (
            self._popular(item_id, shares)
            if shares["popular"] > 0.25 * sum(map(abs, shares.values()))
            else []
        )

    def _popular(self, item_id: str, shares: Mapping[str, float]) -> list[Reason]:
        count = self.world.popularity.counts.get(item_id, 0)
        if not count or shares["popular"] <= 0:
            return []
        return [Reason(kind="popular", text=f"popular now: chosen {count} times lately")]


def shared_words(one: str, other: str, most: int = 4) -> list[str]:
    """Return telling words that both texts hold, in the order of `one`, lower case, at most `most`."""
    there = {word.text.casefold() for word in words(other)}
    mine = dict.fromkeys(word.text.casefold() for word in words(one))
    return [word for word in mine if word in there and _tells(word)][:most]


def _tells(word: str) -> bool:
    return (len(word) >= _SHORTEST or not word.isascii()) and word not in _COMMON


def _shared(adds: Column, part: float) -> Column:
    """Spread a part of the score over what added to it, by size."""
    whole = float(np.abs(adds).sum())
    return adds / whole * abs(part) if whole > 0 else np.zeros_like(adds)
