import numpy as np
import pytest

from services.recommender.candidates import candidates
from services.recommender.features import features, signals
from services.recommender.profiles import of_items, profile_at
from services.recommender.rank import Weights, order, parts, scores
from services.recommender.reasons import shared_words
from services.recommender.slate import compose, diversify, favourites

EAST, NORTH, NONE = [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]


@pytest.mark.parametrize(
    ("values", "vectors", "k", "trade", "picked"),
    [
        ([3, 2, 1], [EAST, EAST, NORTH], 3, 0.0, [0, 1, 2]),  # no trade: the order as it is
        ([3, 2.9, 1], [EAST, EAST, NORTH], 3, 0.6, [0, 2, 1]),  # a double goes behind something new
        ([3, 2.9, 1], [EAST, EAST, NORTH], 3, 0.1, [0, 1, 2]),  # too small a trade to matter
        ([3, 2.9, 2.8], [EAST, EAST, NONE], 2, 0.6, [0, 2]),  # without a vector it is like nothing
        ([2, 2, 2], [EAST, NORTH, EAST], 3, 0.5, [0, 1, 2]),  # equal scores: the earlier row first
        ([5, 1], [EAST, NORTH], 9, 0.3, [0, 1]),  # fewer rows than k
        ([], np.zeros((0, 2)), 3, 0.3, []),
    ],
)
def test_diversify(values, vectors, k, trade, picked):
    assert diversify(np.array(values, dtype=float), np.array(vectors, dtype=np.float32), k, trade) == picked


def test_diversity_reads_the_score_and_its_scale_does_not_matter():
    rng = np.random.default_rng(0)
    values = np.sort(rng.normal(size=40))[::-1]
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert diversify(values, vectors, 10, 0.4) == diversify(values * 50 + 3, vectors, 10, 0.4)


def test_trust_in_behaviour_grows_with_the_events_of_an_item(act, now, world_with):
    profile = profile_at([act("u", "tent")], now)

    def split(events):
        world = world_with(events=events)
        table = features(signals(profile, world, 0.9), ["mat"], world)
        weights = Weights(text=0.0, cold=1.0, half=2.0)
        return parts(table, weights), table

    (cold, table), (warm, _) = split(0), split(1000)
    assert cold["behaviour"] == pytest.approx(0.0)
    assert cold["text"] == pytest.approx(table.text)
    assert warm["behaviour"] == pytest.approx(table.behaviour, rel=0.01)
    assert abs(warm["text"][0]) < 0.02


def test_ties_go_by_id():
    assert order(["b", "a", "c"], np.array([1.0, 1.0, 2.0])) == [2, 1, 0]


def test_candidates_come_from_all_sources_and_never_from_the_excluded(act, now, world):
    found = signals(profile_at([act("u", "bread")], now), world, 0.9)
    union = candidates(found, world, exclude={"cup"})
    assert union["bread"] == "repeat"
    assert union["flour"] == "behaviour"
    assert union["oven"] == "text"
    assert "cup" not in union
    assert list(union) == list(candidates(found, world, exclude={"cup"}))


def test_an_item_without_events_gets_its_place_by_its_text(act, now, world_with):
    world = world_with(events=0)
    found = signals(profile_at([act("u", "tent")], now), world, 0.9)
    assert "stove" in candidates(found, world, depth=1)


def named(world, shop_items, profile, weights, item_id, **asked):
    found = signals(profile, world, weights.decay)
    places = compose(found, world, weights, shop_items, k=8, **asked)
    (place,) = [place for place in places if place.item_id == item_id]
    return place, found


@pytest.mark.parametrize("weights", [Weights(), Weights(text=0, cold=0, popular=0), Weights(text=2, half=50)])
def test_without_the_named_item_the_score_falls(act, now, world, shop_items, weights):
    profile = profile_at([act("u", name, days=n) for n, name in enumerate(("bread", "tent", "cup"))], now)
    found = signals(profile, world, weights.decay)
    places = compose(found, world, weights, shop_items, k=8)
    said = [(place, reason) for place in places for reason in place.reasons if reason.item_id]
    assert len({reason.item_id for _, reason in said}) > 1
    for place, reason in said:
        less = signals(profile.without(reason.item_id), world, weights.decay)
        assert float(scores(features(less, [place.item_id], world), weights)[0]) < place.score


def test_the_reason_is_the_item_that_made_the_score(act, now, world, shop_items):
    profile = profile_at([act("u", "bread", days=1), act("u", "tent", days=2)], now)
    weights = Weights(text=0.0, cold=0.0, popular=0.0)
    assert named(world, shop_items, profile, weights, "flour")[0].reasons[0].item_id == "bread"
    place, _ = named(world, shop_items, profile, weights, "mat")
    assert (place.reasons[0].kind, place.reasons[0].item_id) == ("similar_to", "tent")
    assert "Dome tent" in place.reasons[0].text


def test_what_was_bought_before_says_so(act, now, world, shop_items):
    profile = profile_at([act("u", "cup", days=1)], now)
    place, _ = named(world, shop_items, profile, Weights(repeat=2.0), "cup")
    assert (place.source, place.reasons[0].kind, place.reasons[0].item_id) == (
        "repeat",
        "bought_before",
        "cup",
    )


def test_what_was_only_looked_at_is_not_called_bought(act, now, world, shop_items):
    profile = profile_at([act("u", "cup", "view", days=1)], now)
    place, _ = named(world, shop_items, profile, Weights(), "cup")
    (reason, *_) = place.reasons
    assert (reason.kind, reason.text) == ("similar_to", "you looked at this before")


def test_parts_add_up_to_the_score(act, now, world, shop_items):
    profile = profile_at([act("u", "bread")], now)
    place, _ = named(world, shop_items, profile, Weights(repeat=1.0), "flour")
    assert sum(place.parts.values()) == pytest.approx(place.score)


def test_hidden_items_are_neither_shown_nor_named(now, world, shop_items):
    names = {item_id: item for item_id, item in shop_items.items() if not item.hidden}
    found = signals(of_items({"secret": 1.0, "bread": 0.9}, now), world, 0.9)
    places = compose(found, world, Weights(), names, k=20)
    assert "secret" not in {place.item_id for place in places}
    assert "secret" not in {reason.item_id for place in places for reason in place.reasons}


def test_favourites_are_what_is_taken_most_then_the_rest_by_id(world, shop_items):
    places = favourites(world, shop_items, 4)
    assert [(place.item_id, place.source) for place in places] == [
        ("cup", "popular"),
        ("tent", "popular"),
        ("bread", "new"),
        ("flour", "new"),
    ]
    assert [reason.kind for reason in places[0].reasons] == ["popular"]
    assert places[2].reasons == ()


def test_shared_words_are_telling_ones():
    assert shared_words("Flour for BREAD and buns with oil", "bread with flour") == ["flour", "bread"]
    assert shared_words("海边的家庭", "安静的海") == ["海", "的"]
