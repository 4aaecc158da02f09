import pytest

from services.recommender.events import Like, check, is_positive, strength
from shared.errors import BadInput, UsageError


@pytest.mark.parametrize(
    ("kind", "positive"),
    [("view", False), ("click", False), ("comment", True), ("share", True), ("buy", True)],
)
def test_kinds_and_which_are_choices(act, kind, positive):
    assert is_positive(act("u", "i", kind)) is positive
    assert 0 < strength(act("u", "i", kind)) <= 1


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("value>=4", 4, True),
        ("value>=4", 3.9, False),
        (" value < 2 ", 1, True),
        ("value==3", 3, True),
        ("value=3", 3, True),
        ("value != 3", 3, False),
        ("value>-1.5", None, True),
    ],
)
def test_a_like_rule(rule, value, holds):
    assert Like.parse(rule).holds(value) is holds
    assert Like.parse(str(Like.parse(rule))) == Like.parse(rule)


@pytest.mark.parametrize(
    "rule", ["", "price>3", "value>>3", "value>=four", "__import__('os')", "value>=4; 1"]
)
def test_a_rule_that_is_none_is_refused(rule):
    with pytest.raises(UsageError, match="value>=4"):
        Like.parse(rule)


def test_not_liked_is_seen_but_wants_nothing(act):
    rated = act("u", "i", "buy", value=2)
    assert strength(rated, Like.parse("value>=4")) == 0
    assert not is_positive(rated, Like.parse("value>=4"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "stare"}, "not one of view, click, comment, share, buy"),
        ({"ts": "yesterday"}, "no time"),
        ({"ts": "2026-05-02T12:00:00Z"}, "future"),
        ({"value": float("nan")}, "number"),
        ({"user_id": " "}, "user_id"),
        ({"item_id": "a\x00b"}, "NUL"),
    ],
)
def test_a_bad_event_says_why(now, change, why):
    given = {"user_id": "u", "item_id": "i", "kind": "buy", "ts": None, "value": None, "now": now}
    with pytest.raises(BadInput, match=why):
        check(**given | change)


def test_without_a_time_it_happened_now(now):
    assert check("u", "i", "view", None, None, now).ts == now
