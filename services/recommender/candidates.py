"""Which items are worth scoring: the union of what behaviour, text, repetition, novelty and fashion name."""

from collections.abc import Collection
from typing import Any

import numpy as np

from services.recommender.domain import Source
from services.recommender.features import Signals, World

DEPTH = 300  # of each large source: a slate holds at most 100, and filters and diversity need more than that
NEW = 50  # places for items without a past: alone on their merits they would not reach the union
WARM = 5  # training events from which behaviour says more about an item than its text


def cold_items(known: Collection[str], events: dict[str, int]) -> frozenset[str]:
    """Return the ids of `known` with fewer than WARM events."""
    return frozenset(item_id for item_id in known if events.get(item_id, 0) < WARM)


def candidates(
    found: Signals, world: World, *, exclude: Collection[str] = (), depth: int = DEPTH
) -> dict[str, Source]:
    """Return item id -> the first source that named it, in a fixed order; all are in the index.

    Nothing of `exclude` is there. What was chosen before is named by `repeat`; a caller that does not
    repeat puts it into `exclude`.
    """
    barred = set(exclude)
    union: dict[str, Source] = {}

    def add(ids: list[str], source: Source) -> None:
        for item_id in ids:
            if item_id in world.known and item_id not in barred:
                union.setdefault(item_id, source)

    add(sorted(found.profile.chosen()), "repeat")
    add(_by_behaviour(found, world, depth + len(barred)), "behaviour")
    add(_by_text(found, world, depth + len(barred)), "text")
    cold = [item_id for item_id in world.cold if item_id not in barred]
    add(_by_text(found, world, NEW, allow=cold) if cold else [], "new")
    add(world.popularity.top(depth + len(barred)), "popular")
    return union


def _by_behaviour(found: Signals, world: World, k: int) -> list[str]:
    raw = found.behaviour
    if raw is None:
        return []
    best = np.argsort(-raw, kind="stable")[:k]  # ids of a matrix are sorted: ties by id
    return [world.matrix.ids[i] for i in best if raw[i] > 0]


def _by_text(found: Signals, world: World, k: int, allow: Collection[str] | None = None) -> list[str]:
    if found.text is None:
        return []
    query: Any = found.text[None].astype(np.float32)  # (1, dim)
    return [hit.id for hit in world.index.search(query, k, allow=allow)[0]]
