"""Events as they come in: which kinds there are, what they weigh, and why one is refused."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.recommender.domain import Act
from shared.clock import parse_time
from shared.errors import BadInput, UsageError


@dataclass(frozen=True)
class Kind:
    """`weight`, 0 to 1, is how much one event says about taste; a positive kind is a choice, not a glance."""

    weight: float
    positive: bool


# A glance costs nothing: ten views say as much as one purchase. Only positive kinds are targets in training.
KINDS = {
    "view": Kind(0.1, False),
    "click": Kind(0.2, False),
    "comment": Kind(0.6, True),
    "share": Kind(0.8, True),
    "buy": Kind(1.0, True),
}
# Clocks of senders differ; a later time would keep the event out of every profile until then.
AHEAD = timedelta(minutes=5)

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_LIKE = re.compile(r"\s*value\s*(>=|<=|==|!=|=|>|<)\s*(-?\d+(?:\.\d+)?)\s*")


@dataclass(frozen=True)
class Like:
    """A rule such as `value>=4`: an event whose value breaks it was seen, but not liked."""

    compare: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> "Like":
        """Return the rule that `text` writes (`==` and `=` are the same); raises UsageError."""
        match = _LIKE.fullmatch(text)
        if not match:
            raise UsageError(
                f"--like {text!r} is no rule; write value, one of >= <= == != > <, and a number: 'value>=4'"
            )
        return cls(match[1].replace("==", "="), float(match[2]))

    def holds(self, value: float | None) -> bool:
        """Whether `value` keeps the rule; an event without a value does."""
        return value is None or _OPERATORS[self.compare](value, self.bound)

    def __str__(self) -> str:
        return f"value{self.compare}{self.bound:g}"


def strength(act: Act, like: Like | None = None) -> float:
    """Return how much `act` says that its user wants the item, 0 (seen, not liked) to 1."""
    return KINDS[act.kind].weight if like is None or like.holds(act.value) else 0.0


def is_positive(act: Act, like: Like | None = None) -> bool:
    """Whether `act` is a choice of the item: a target in training, and worth a place in the reasons."""
    return KINDS[act.kind].positive and strength(act, like) > 0


def check(
    user_id: str,
    item_id: str,
    kind: str,
    ts: str | float | datetime | None,
    value: float | None,
    now: datetime,
) -> Act:
    """Return the event as an Act; without a time it happened `now`. Raises BadInput with what to correct."""
    if kind not in KINDS:
        raise BadInput(f"event {kind[:50]!r} is not one of {', '.join(KINDS)}")
    for name, text in (("user_id", user_id), ("item_id", item_id)):
        if not text.strip() or "\x00" in text or len(text) > 200:
            raise BadInput(f"{name} {text[:50]!r} is no id; give 1 to 200 characters without NUL")
    if value is not None and not abs(value) < 1e12:
        raise BadInput(f"value {value!r} is not a usable number; leave it out or give one below 1e12")
    moment = now if ts is None else ts if isinstance(ts, datetime) else parse_time(ts)[0]
    if moment > now + AHEAD:
        raise BadInput(f"ts {ts!r} lies in the future; send the time when it happened")
    return Act(user_id.strip(), item_id.strip(), kind, moment, value)
