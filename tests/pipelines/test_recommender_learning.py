from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipelines.recommending.cases import Cuts, before, cases_between, cuts_by_share
from pipelines.recommending.choosing import choose, table_of
from pipelines.recommending.learning import Data, judge, plan, repeated, with_weights, world_of
from pipelines.recommending.matrices import ease, interactions, knn, learn
from pipelines.recommending.measuring import by_popularity, measure, product
from pipelines.recommending.pairs import pairs
from services.recommender.domain import Act
from services.recommender.events import Like
from services.recommender.popularity import Popularity
from services.recommender.rank import Weights
from shared.errors import BadInput

START = datetime(2026, 1, 1, tzinfo=UTC)


def act(user, item, day, kind="buy", value=None):
    return Act(user, item, kind, START + timedelta(days=day), value)


def town(users=60, seed=0):
    """Two kinds of people: one takes a-items, the other b-items; each takes six of ten, in some order."""
    rng = np.random.default_rng(seed)
    acts = []
    for number in range(users):
        shelf = "ab"[number % 2]
        for step, item in enumerate(rng.permutation(10)[:6]):
            acts.append(act(f"u{number}", f"{shelf}{item}", step * 10 + rng.random()))
    return sorted(acts, key=lambda one: one.ts)


IDS = sorted(f"{shelf}{n}" for shelf in "ab" for n in range(10))


def vectors():
    rng = np.random.default_rng(1)
    rows = rng.normal(scale=0.2, size=(20, 4)) + np.repeat(np.eye(4)[:2], 10, axis=0)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def data():
    acts = town()
    return Data(IDS, acts, cuts_by_share(acts))


def dense(matrix):
    full = np.zeros((len(matrix), len(matrix)))
    for row in range(len(matrix)):
        piece = slice(matrix.starts[row], matrix.starts[row + 1])
        full[row, matrix.targets[piece]] = matrix.values[piece]
    return full


def test_the_strongest_event_of_a_pair_counts_and_the_disliked_does_not():
    acts = [act("u", "x", 1, "view"), act("u", "x", 2), act("v", "y", 1, value=1), act("v", "z", 1, "click")]
    matrix, events = interactions(acts, ["x", "y", "z"], Like.parse("value>=4"))
    assert matrix.toarray() == pytest.approx(np.array([[1, 0, 0], [0, 0, 0.2]]))
    assert events.tolist() == [1, 0, 1]


def test_knn_is_the_shrunk_cosine():
    matrix, events = interactions([act(u, i, 0) for u, i in ("ax", "ay", "bx", "by", "cx")], ["x", "y"])
    found = dense(knn(matrix, ["x", "y"], events, shrink=1.0))
    assert found == pytest.approx(np.array([[0, 2 / (np.sqrt(6) + 1)], [2 / (np.sqrt(6) + 1), 0]]))


def test_ease_is_the_closed_form(data):
    matrix, events = interactions(data.acts, IDS)
    x = matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + 7.0 * np.eye(20))
    expected = inverse / -np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert dense(ease(matrix, IDS, events, penalty=7.0)) == pytest.approx(expected, abs=1e-5)


def test_only_the_largest_entries_of_a_column_are_kept(data):
    matrix, events = interactions(data.acts, IDS)
    full, few = (
        dense(ease(matrix, IDS, events, penalty=7.0)),
        dense(ease(matrix, IDS, events, penalty=7.0, keep=3)),
    )
    assert (few != 0).sum(axis=0).max() == 3
    assert np.abs(few).max(axis=0) == pytest.approx(np.abs(full).max(axis=0))


def test_a_large_catalogue_takes_ease_for_the_head_and_knn_for_the_tail(data):
    matrix, events = interactions(data.acts, IDS)
    found = learn(matrix, IDS, events, {"kind": "ease", "penalty": 7.0}, limit=12)
    full = dense(found)
    tail = np.argsort(-events, kind="stable")[12:]
    assert (np.abs(full[:, tail]).sum(axis=0) > 0).all()
    assert np.diag(full).tolist() == [0.0] * 20
    assert found.events.tolist() == events.tolist()


def test_cases_hold_history_before_the_cut_and_targets_after_it():
    acts = [
        act("u", "a", 1),
        act("u", "b", 3),
        act("u", "a", 4),
        act("u", "c", 5, "view"),
        act("new", "a", 4),
    ]
    (case,), unknown = cases_between(acts, START + timedelta(days=2), None)
    assert (case.user_id, case.targets, case.fresh, case.seen) == ("u", ("b", "a"), ("b",), {"a"})
    assert [one.item_id for one in case.profile.taken] == ["a"]
    assert unknown == 1
    assert repeated([case]) == 0.5


def test_an_event_at_the_cut_is_a_target_and_no_history():
    acts = [act("u", "a", 1), act("u", "b", 2)]
    (case,), _ = cases_between(acts, START + timedelta(days=2), None)
    assert case.targets == ("b",)
    assert before(acts, START + timedelta(days=2)) == acts[:1]


def test_without_choices_every_event_is_a_target():
    acts = [act("u", "a", 1, "view"), act("u", "b", 3, "view")]
    (case,), _ = cases_between(acts, START + timedelta(days=2), None)
    assert case.targets == ("b",)


def test_the_table_gives_the_figures_of_the_ranking_that_is_served(data):
    world = world_of(
        data, vectors(), data.matrix({"kind": "knn", "shrink": 5.0}, data.cuts.valid), Popularity()
    )
    weights = Weights(text=0.7, half=4.0, popular=0.0)
    served = measure(product(world, weights), data.valid, IDS, repeats=False)
    cases = [case for case in data.valid if case.fresh]
    assert table_of(cases, world, weights.decay, repeats=False).ndcg(weights) == pytest.approx(served.ndcg)


def test_what_may_not_be_shown_is_in_no_list():
    (case,), _ = cases_between([act("u", "a", 1), act("u", "b", 3)], START + timedelta(days=2), None)
    found = by_popularity(Popularity({"a": 9, "b": 2, "c": 5}))(case, case.seen, 2)
    assert found == ["c", "b"]


def test_people_of_two_kinds_are_told_apart(data):
    made = plan(data)
    ranking, value = with_weights(data, made, vectors())
    found = judge(data, ranking, vectors())
    assert ranking.repeats is False
    assert value > 0.5
    assert found["product"].ndcg.mean() > found["popularity"].ndcg.mean() + 0.1
    assert with_weights(data, plan(data), vectors()) == (ranking, value)


def test_later_events_change_no_setting(data):
    cut = data.cuts.test
    half = Data(IDS, before(data.acts, cut) + [a for a in data.acts if a.ts >= cut][::2], data.cuts)
    one, other = plan(data), plan(half)
    assert one.ranking == other.ranking
    assert np.array_equal(one.matrix.values, other.matrix.values)
    assert with_weights(data, one, vectors()) == with_weights(half, other, vectors())


def test_repeats_are_weighed_when_people_repeat():
    rng = np.random.default_rng(2)
    acts = [act(f"u{u}", f"a{rng.integers(10)}" if rng.random() < 0.3 else f"a{u % 10}", day + rng.random())
            for u in range(40) for day in range(20)]  # fmt: skip
    acts.sort(key=lambda one: one.ts)
    made = Data([f"a{n}" for n in range(10)], acts, cuts_by_share(acts))
    assert plan(made).ranking.repeats is True
    world = world_of(
        made, vectors()[:10], made.matrix({"kind": "knn", "shrink": 5.0}, made.cuts.valid), Popularity()
    )
    assert choose(made.valid, world, repeats=True)[0].repeat > 0


def test_too_short_a_history_says_so():
    acts = [act("u", "a0", 0), act("v", "a1", 5)]
    cut = START + timedelta(days=2)
    with pytest.raises(BadInput, match="longer history"):
        _ = Data(IDS, acts, Cuts(cut, cut + timedelta(days=9))).valid


def test_pairs_are_neighbours_in_time_and_users_never_change_sides():
    acts = town(80)
    texts = {item: f"text of {item}" for item in IDS}
    train, valid = pairs(acts, texts, texts, ordered=True)
    assert pairs(acts, texts, texts, ordered=True) == (train, valid)
    assert train
    assert valid
    assert all(row["positive"] in texts.values() and row["anchor"] for row in train)
    assert any(", " in row["anchor"] for row in train)
    assert pairs(acts, texts, texts)[0] == []  # ten days apart
    assert len(pairs(acts, texts, texts, ordered=True, most=5)[0]) == 5
