"""Training pairs for the encoder: (text, text of what the same person chose next)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from services.recommender.domain import Act
from services.recommender.events import Like, is_positive
from shared.storage.documents import text_hash

CLOSE = timedelta(days=2)
HISTORY = 3  # titles of the past that stand for a person in half of the pairs
PER_ITEM = 4  # pairs for each item of the catalogue,
PAIRS = 3_000  # and in all: a few minutes of tuning on two cores
_VALID = 10  # one user in so many is kept for validation


def pairs(
    acts: Sequence[Act],
    texts: Mapping[str, str],
    titles: Mapping[str, str],
    *,
    like: Like | None = None,
    ordered: bool = False,
    seed: int = 0,
    most: int | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return training and validation rows `{"anchor", "positive"}`, at most `most` and a tenth of that.

    By default `most` is four for each item and 3,000 in all.

    `acts` come by time. Neighbours in a person's choices are close in time, or (`ordered`: without
    times) next to each other. A pair of items comes once, whoever chose it; users never change sides.
    """
    of_user: dict[str, list[Act]] = defaultdict(list)
    for act in acts:
        if is_positive(act, like) and act.item_id in texts:
            of_user[act.user_id].append(act)
    sides: tuple[dict[tuple[str, str], str], dict[tuple[str, str], str]] = {}, {}
    for user in sorted(of_user):
        side = sides[int(text_hash(user)[:8], 16) % _VALID == 0]
        for place, (one, other) in enumerate(zip(of_user[user], of_user[user][1:], strict=False)):
            near = ordered or other.ts - one.ts <= CLOSE
            if near and one.item_id != other.item_id:
                past = [act.item_id for act in of_user[user][max(0, place + 1 - HISTORY) : place + 1]]
                side.setdefault((one.item_id, other.item_id), _anchor(past, texts, titles, len(side)))
    train, valid = (_rows(side, texts) for side in sides)
    rng, most = np.random.default_rng(seed), most or min(PAIRS, PER_ITEM * len(texts))
    return _some(train, most, rng), _some(valid, most // 10, rng)


def _anchor(past: Sequence[str], texts: Mapping[str, str], titles: Mapping[str, str], number: int) -> str:
    """Return the item's own text, or for every second pair the titles of the last few."""
    if number % 2 or len(set(past)) < 2:
        return texts[past[-1]]
    return ", ".join(titles[item_id] for item_id in dict.fromkeys(past))


def _rows(side: Mapping[tuple[str, str], str], texts: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"anchor": anchor, "positive": texts[other]} for (_, other), anchor in side.items()]


def _some(rows: list[dict[str, Any]], most: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    picked = rng.permutation(len(rows))[:most]
    return [rows[i] for i in picked]
