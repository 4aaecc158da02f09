"""What many take: positive events within a window that ends at the newest event."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from services.recommender.domain import Act
from services.recommender.events import Like, is_positive

WINDOW = timedelta(days=30)


@dataclass(frozen=True)
class Popularity:
    """`counts` by item; `window` ends at the newest event, so that a shop at rest keeps its favourites."""

    counts: dict[str, int] = field(default_factory=dict)
    window: timedelta = WINDOW

    def top(self, k: int) -> list[str]:
        """Return the k most taken items, most first, ties by id."""
        return self._order[:k]

    @cached_property
    def _order(self) -> list[str]:
        return sorted(self.counts, key=lambda item_id: (-self.counts[item_id], item_id))


def popular_at(
    acts: Iterable[Act], as_of: datetime, *, like: Like | None = None, window: timedelta = WINDOW
) -> Popularity:
    """Return the counts as of `as_of`; where no event is positive, all events count."""
    past = [act for act in acts if act.ts <= as_of]
    if not past:
        return Popularity({}, window)
    start = max(act.ts for act in past) - window
    recent = [act for act in past if act.ts > start]
    chosen = [act for act in recent if is_positive(act, like)]
    return Popularity(dict(Counter(act.item_id for act in chosen or recent)), window)
