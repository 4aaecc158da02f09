import numpy as np
import pytest

from shared.errors import Damaged, NotFound
from shared.models.heads import HeadSpec
from shared.models.reference import FEWEST, FILE, ROWS, Profile, compare, sample

HEADS = [
    HeadSpec(name="intent", kind="classify", labels=["a", "b", "c"]),
    HeadSpec(name="price", kind="regress", centre=10.0, spread=2.0),
    HeadSpec(name="vector", kind="embed"),
]


def profile(n, seed, *, label=None, shift=0.0, length=20):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3))
    if label is not None:
        logits[:, label] += 3
    vectors = rng.normal(size=(n, 16)) + shift
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    raw = {"intent": logits, "price": rng.normal(shift, 1, size=(n, 1)), "vector": vectors}
    return Profile.of(HEADS, ["x" * int(k) for k in rng.integers(5, length, n)], raw)


def test_the_same_source_is_steady():
    for seed in range(0, 20, 2):
        assert not any(one.moved for one in compare(profile(200, seed), profile(150, seed + 1)))


@pytest.mark.parametrize(
    ("change", "whats"),
    [
        ({"label": 1}, {"labels", "confidence"}),
        ({"shift": 1.0}, {"value", "vector"}),
        ({"length": 60}, {"length"}),
    ],
    ids=["label", "shift", "length"],
)
def test_what_moved_is_named(change, whats):
    found = compare(profile(200, 0), profile(150, 1, **change))
    assert [one.what for one in found] == ["labels", "confidence", "value", "length", "vector"]
    assert {one.what for one in found if one.moved} == whats
    assert found[0].head == "intent"
    assert found[0].figure == "psi"


def test_of_many_texts_a_sample_is_kept_and_few_say_nothing():
    assert len(sample(range(ROWS + 200))) == ROWS
    assert compare(profile(200, 0), profile(FEWEST - 1, 1, label=1)) == []


def test_what_is_stored_is_what_was_seen(tmp_path):
    kept = profile(50, 3)
    kept.save(tmp_path)
    found = Profile.load(tmp_path)
    assert all(one.value == 0 and not one.moved for one in compare(kept, found))
    np.testing.assert_array_equal(found.vectors, kept.vectors)
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE]


def test_a_missing_and_a_broken_file(tmp_path):
    with pytest.raises(NotFound, match="rows to compare with must be given"):
        Profile.load(tmp_path)
    (tmp_path / FILE).write_bytes(b"no array")
    with pytest.raises(Damaged, match="train again"):
        Profile.load(tmp_path)
