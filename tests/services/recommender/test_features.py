import numpy as np
import pytest

from services.recommender.collaborative import ItemMatrix
from services.recommender.features import Moments, features, signals
from services.recommender.popularity import popular_at
from services.recommender.profiles import Profile, profile_at
from shared.errors import Damaged


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)


def test_features_as_of_a_time_do_not_change_by_one_bit_when_later_events_are_deleted(
    act, now, world_with, shop_items
):
    past = [act("u", "bread", days=9), act("u", "tent", "view", days=4), act("v", "mat", days=3)]
    later = [act("u", "flour", days=-1), act("u", "bread", days=-1), act("v", "oven", days=-2)]

    def table(acts):
        counts = popular_at(acts, now).counts
        profile = profile_at([one for one in acts if one.user_id == "u"], now)
        world = world_with(popular=counts)
        return features(signals(profile, world, 0.9), sorted(shop_items), world)

    assert same(table([*past, *later]), table(past))


def test_moments_give_the_mean_and_spread_over_the_whole_catalogue():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    query = rng.normal(size=8)
    cosines = vectors.astype(np.float64) @ query
    z = Moments.of(vectors).standardise(query, cosines)
    assert z == pytest.approx((cosines - cosines.mean()) / cosines.std(), abs=1e-5)


def test_behaviour_is_the_sum_over_the_history_standardised_over_the_catalogue(act, now, world):
    profile = profile_at([act("u", "bread", days=2), act("u", "tent", days=1)], now)
    found = signals(profile, world, 0.5)
    raw = dict(zip(world.matrix.ids, found.behaviour.tolist(), strict=True))
    assert raw["flour"] == pytest.approx(0.5 * 0.6)
    assert raw["mat"] == pytest.approx(0.5)
    table = features(found, ["mat", "flour"], world)
    mean, spread = found.behaviour.mean(), found.behaviour.std()
    assert table.behaviour == pytest.approx([(0.5 - mean) / spread, (0.3 - mean) / spread], rel=1e-5)


def test_an_empty_history_says_nothing(world):
    found = signals(Profile(), world, 0.9)
    assert found.behaviour is None
    assert found.text is None
    table = features(found, ["mat", "cup"], world)
    assert not table.behaviour.any()
    assert not table.text.any()
    assert table.popular.tolist() == [0.0, 1.0]


def test_repeat_and_again_are_for_what_was_chosen_only(act, now, world):
    profile = profile_at([act("u", "cup"), act("u", "mat", "view")], now)
    table = features(signals(profile, world, 0.9), ["cup", "mat", "tent"], world)
    assert table.repeat[0] == pytest.approx(2 * np.log(2))
    assert table.repeat[1:].tolist() == [0, 0]
    assert table.again.tolist() == [1.0, 0.0, 0.0]


def test_a_matrix_comes_back_from_its_files(tmp_path, world):
    world.matrix.save(tmp_path)
    loaded = ItemMatrix.load(tmp_path)
    weights = {"tent": 1.0, "unknown": 5.0}
    assert loaded.ids == world.matrix.ids
    assert np.array_equal(loaded.scores(weights), world.matrix.scores(weights))
    assert loaded.adds("tent", "mat") == pytest.approx(0.5)
    assert loaded.adds("unknown", "mat") == 0.0
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", *[".npy"] * 4]


@pytest.mark.parametrize("name", ["items.json", "starts.npy", "targets.npy", "values.npy", "events.npy"])
def test_a_damaged_matrix_is_refused(tmp_path, world, name):
    world.matrix.save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    with pytest.raises(Damaged, match="train"):
        ItemMatrix.load(tmp_path)
