"""Held-out users: what each had taken before a moment, and what they took after it."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.recommender.domain import Act
from services.recommender.events import Like, is_positive
from services.recommender.profiles import Profile, profile_at

_BEFORE = timedelta(microseconds=1)


@dataclass(frozen=True)
class Case:
    """One user: `profile` as of the cut, `targets` in the order in which they were taken after it.

    `fresh` are the targets that were not taken before, `seen` what a list without repeats leaves out.
    """

    user_id: str
    profile: Profile
    targets: tuple[str, ...]
    fresh: tuple[str, ...]
    seen: frozenset[str]


@dataclass(frozen=True)
class Cuts:
    """Training ends before `valid`, settings are chosen up to `test`, and everything later is judged once."""

    valid: datetime
    test: datetime


def cuts_by_share(acts: Sequence[Act], valid: float = 0.1, test: float = 0.1) -> Cuts:
    """Return the cuts that leave these shares of the events (by time) for validation and test."""
    times = sorted(act.ts for act in acts)
    return Cuts(times[int(len(times) * (1 - valid - test))], times[int(len(times) * (1 - test))])


def before(acts: Sequence[Act], cut: datetime) -> list[Act]:
    """Return the events before `cut`."""
    return [act for act in acts if act.ts < cut]


def cases_between(
    acts: Sequence[Act],
    start: datetime,
    end: datetime | None,
    *,
    like: Like | None = None,
    catalogue: Collection[str] | None = None,
) -> tuple[list[Case], int]:
    """Return the users with targets from `start` to before `end` and a history, and how many had no history.

    Targets are positive events; where there are none at all, every event counts. `catalogue` bounds
    them. Users come by id.
    """
    past, later = _by_user(acts, start, end)
    chosen = {user: [act for act in of if is_positive(act, like)] for user, of in later.items()}
    if not any(chosen.values()):
        chosen = later
    cases, unknown = [], 0
    for user in sorted(chosen):
        ordered = sorted(chosen[user], key=lambda act: act.ts)
        targets = tuple(
            dict.fromkeys(a.item_id for a in ordered if catalogue is None or a.item_id in catalogue)
        )
        if not targets:
            continue
        profile = profile_at(past.get(user, ()), start - _BEFORE, like=like)
        if not profile.weights(1.0):
            unknown += 1
            continue
        seen = frozenset(act.item_id for act in past[user] if is_positive(act, like)) | profile.seen()
        cases.append(Case(user, profile, targets, tuple(t for t in targets if t not in seen), seen))
    return cases, unknown


def _by_user(
    acts: Sequence[Act], start: datetime, end: datetime | None
) -> tuple[dict[str, list[Act]], dict[str, list[Act]]]:
    past: dict[str, list[Act]] = defaultdict(list)
    later: dict[str, list[Act]] = defaultdict(list)
    for act in acts:
        if act.ts < start:
            past[act.user_id].append(act)
        elif end is None or act.ts < end:
            later[act.user_id].append(act)
    return past, later
