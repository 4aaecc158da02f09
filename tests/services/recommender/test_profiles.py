from datetime import timedelta

import pytest

from services.recommender.events import Like
from services.recommender.profiles import of_items, profile_at


def test_newer_choices_weigh_more(act, now):
    profile = profile_at([act("u", "old", days=9), act("u", "new", days=1), act("u", "mid", days=5)], now)
    assert list(profile.weights(0.5).items()) == [("new", 1.0), ("mid", 0.5), ("old", 0.25)]


def test_a_view_says_less_than_a_purchase_and_does_not_make_an_item_seen(act, now):
    profile = profile_at([act("u", "a", "view"), act("u", "b", "buy", days=1)], now)
    assert profile.weights(1.0) == {"a": 0.1, "b": 1.0}
    assert profile.seen() == {"b"}
    assert list(profile.chosen()) == ["b"]


def test_disliked_is_seen_and_weighs_nothing_nor_ages_others(act, now):
    acts = [act("u", "bad", value=1, days=1), act("u", "good", value=5, days=2)]
    profile = profile_at(acts, now, like=Like.parse("value>=4"))
    assert profile.weights(0.5) == {"good": 1.0}
    assert profile.seen() == {"bad", "good"}


def test_choices_of_one_day_count_once(act, now):
    acts = [act("u", "a", days=0.1), act("u", "a", days=0.2), act("u", "a", days=60)]
    (taken,) = profile_at(acts, now).taken
    assert taken.days == 2
    assert taken.recent == pytest.approx(0.5 + 0.5 ** (0.1 / 60), abs=2e-3)


def test_later_events_do_not_exist(act, now):
    past = [act("u", "a", days=3), act("u", "b", days=2)]
    later = [act("u", "b", days=-1), act("u", "c", days=-2)]
    assert profile_at([*later, *past], now) == profile_at(past, now)


def test_order_of_the_events_does_not_matter_and_equal_times_go_by_id(act, now):
    acts = [act("u", name) for name in "cab"]
    assert [one.item_id for one in profile_at(acts, now).taken] == ["a", "b", "c"]
    assert profile_at(acts[::-1], now) == profile_at(acts, now)


def test_only_the_newest_items_are_kept(act, now):
    acts = [act("u", f"i{n:03}", days=n) for n in range(30)]
    assert [one.item_id for one in profile_at(acts, now, limit=2).taken] == ["i000", "i001"]


@pytest.mark.parametrize(
    ("minutes", "visit"), [([5, 20, 45], True), ([5, 60], False), ([40], False), ([], False)]
)
def test_a_visit_has_no_gap_of_half_an_hour(act, now, minutes, visit):
    acts = [act("u", f"i{m}", days=m / 1440) for m in minutes]
    assert profile_at(acts, now).visit_only is visit


def test_without_an_item_is_as_if_it_had_never_been(act, now):
    acts = [act("u", "a", days=3), act("u", "b", days=2), act("u", "c", days=1)]
    assert profile_at(acts, now).without("b").taken == profile_at([acts[0], acts[2]], now).taken


def test_the_profile_of_a_question(now):
    assert of_items({"a": 1.0}, now - timedelta(0)).weights(0.5) == {"a": 1.0}
