"""What a user's history says at a moment: recent choices weigh more, later events do not exist."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.recommender.domain import Act
from services.recommender.events import Like, is_positive, strength

VISIT_GAP = timedelta(minutes=30)
HALF_LIFE = timedelta(days=60)  # of a choice as a sign that it will be repeated
LIMIT = 500  # newest distinct items that count; bounds the work per request whatever a user does


@dataclass(frozen=True)
class Taken:
    """One item of a history: `strength` of its strongest event (0: seen, not liked) and its `last` time.

    `days` counts the days on which it was chosen, `recent` the same with a half-life of 60 days.
    """

    item_id: str
    strength: float
    last: datetime
    days: int = 0
    recent: float = 0.0


@dataclass(frozen=True)
class Profile:
    """A history as of a moment, newest item first; equal times go by id. Never holds a later event."""

    taken: tuple[Taken, ...] = ()
    visit_only: bool = False  # all of it happened within the present visit

    def weights(self, decay: float) -> dict[str, float]:
        """Return strength * decay^age by item, newest first; age counts the newer items with a strength."""
        wanted = [one for one in self.taken if one.strength > 0]
        return {one.item_id: one.strength * decay**age for age, one in enumerate(wanted)}

    def chosen(self) -> dict[str, Taken]:
        """Return the items that were chosen at least once, newest first."""
        return {one.item_id: one for one in self.taken if one.days}

    def without(self, item_id: str) -> "Profile":
        """Return the history as if nothing had ever happened with this item."""
        return replace(self, taken=tuple(one for one in self.taken if one.item_id != item_id))

    def seen(self) -> set[str]:
        """Return the items that were chosen, or judged and not liked; a mere view does not count as seen."""
        return {one.item_id for one in self.taken if one.days or not one.strength}


def profile_at(
    acts: Iterable[Act], as_of: datetime, *, like: Like | None = None, limit: int = LIMIT
) -> Profile:
    """Return the profile of one user's `acts` (any order) as of `as_of`; events after it change nothing."""
    of_item: dict[str, list[Act]] = defaultdict(list)
    for act in acts:
        if act.ts <= as_of:
            of_item[act.item_id].append(act)
    newest = [_taken(item_id, of_item[item_id], as_of, like) for item_id in sorted(of_item)]
    newest.sort(key=lambda one: one.last, reverse=True)
    times = sorted(act.ts for of in of_item.values() for act in of)
    return Profile(tuple(newest[:limit]), _one_visit(times, as_of))


def of_items(weights: Mapping[str, float], as_of: datetime) -> Profile:
    """Return the profile of a question: these items as if just taken, in this order."""
    return Profile(tuple(Taken(item_id, weight, as_of) for item_id, weight in weights.items()))


def _taken(item_id: str, acts: Sequence[Act], as_of: datetime, like: Like | None) -> Taken:
    days = {act.ts.date(): act.ts for act in acts if is_positive(act, like)}
    recent = sum(0.5 ** ((as_of - ts) / HALF_LIFE) for _, ts in sorted(days.items()))
    return Taken(
        item_id, max(strength(act, like) for act in acts), max(act.ts for act in acts), len(days), recent
    )


def _one_visit(times: list[datetime], as_of: datetime) -> bool:
    if not times:
        return False
    return all(
        later - earlier <= VISIT_GAP for earlier, later in zip(times, [*times[1:], as_of], strict=True)
    )
