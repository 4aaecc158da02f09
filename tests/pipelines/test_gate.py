import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipelines.gate import check_index, compare_classifiers, compare_rankings
from shared.errors import BadInput
from shared.index.flat import FlatIndex

LABELS = ["billing", "card", "loan"]
TRUTH = LABELS * 100


def spoiled(truth, every, where=slice(None)):
    """Return `truth` with a wrong label in each `every`-th row of `where`."""
    said = list(truth)
    for i in range(len(said))[where][::every]:
        said[i] = LABELS[(LABELS.index(said[i]) + 1) % 3]
    return said


@pytest.mark.parametrize(
    ("candidate", "live", "passed"),
    [
        (TRUTH, spoiled(TRUTH, 4), True),  # better
        (spoiled(TRUTH, 4), spoiled(TRUTH, 4), True),  # the same
        (spoiled(TRUTH, 290), TRUTH, True),  # worse by two rows of 300: noise
        (spoiled(TRUTH, 4), TRUTH, False),  # worse by a quarter of the rows
    ],
)
def test_against_live_only_what_exceeds_the_noise_counts(candidate, live, passed):
    verdict = compare_classifiers(candidate, live, spoiled(TRUTH, 1), TRUTH, live_name="tone@3")
    assert (verdict.passed, verdict.compared_with) == (passed, "tone@3")
    assert (verdict.reason is None) == passed
    if not passed:
        assert "macro F1 is worse than tone@3 on the whole by 0.25" in verdict.reason
        assert verdict.metrics["interval"][1] < 0


def test_a_slice_that_gets_worse_refuses_though_the_whole_gets_better():
    first = [i < 40 for i in range(300)]
    candidate = spoiled(TRUTH, 2, slice(0, 40))
    live = spoiled(TRUTH, 3, slice(40, 300))
    verdict = compare_classifiers(
        candidate, live, live, TRUTH, {"spanish": first, "few": [i < 3 for i in range(300)]}
    )
    assert verdict.metrics["change"] > 0
    assert not verdict.passed
    assert "in slice 'spanish'" in verdict.reason
    assert verdict.metrics["slices"]["few"] == {"rows": 3, "judged": False}


def test_the_same_seed_gives_the_same_interval():
    candidate, live = spoiled(TRUTH, 7), spoiled(TRUTH, 9)
    one, two = (compare_classifiers(candidate, live, live, TRUTH, seed=5).metrics for _ in range(2))
    assert one == two
    assert one["interval"] != compare_classifiers(candidate, live, live, TRUTH, seed=6).metrics["interval"]


@pytest.mark.parametrize(
    ("candidate", "plain", "passed"),
    [
        (TRUTH, spoiled(TRUTH, 4), True),
        (spoiled(TRUTH, 4), spoiled(TRUTH, 4), False),  # a tie with the plain method does not beat it
        (spoiled(TRUTH, 3), spoiled(TRUTH, 4), False),
        (TRUTH, TRUTH, True),  # nothing lies above 1
    ],
)
def test_without_a_live_one_the_plain_method_is_to_beat(candidate, plain, passed):
    verdict = compare_classifiers(candidate, None, plain, TRUTH)
    assert (verdict.passed, verdict.compared_with) == (passed, "TF-IDF + linear SVM")
    assert (verdict.reason is None) == passed


def test_macro_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, said, live = (rng.choice(LABELS, 200).tolist() for _ in range(3))
    metrics = compare_classifiers(said, live, live, truth).metrics
    expected = f1_score(truth, said, average="macro")
    assert metrics["macro_f1"] == pytest.approx(expected, abs=1e-4)


def test_several_labels_per_row():
    truth = [{"a"}, {"a", "b"}, set(), {"b"}] * 30
    flags = [[label in row for label in "ab"] for row in truth]
    said = [["a"], ["a"], [], ["b", "new"]] * 30  # a label that the truth lacks is no hit
    metrics = compare_classifiers(said, None, [set()] * 120, truth).metrics
    expected = f1_score(flags, [[label in row for label in "ab"] for row in said], average="macro")
    assert metrics["macro_f1"] == pytest.approx(expected, abs=1e-4)


def test_a_label_only_the_candidate_says_is_a_miss():
    assert not compare_classifiers(["other"] * 300, TRUTH, TRUTH, TRUTH).passed


def test_rankings_are_compared_user_by_user():
    rng = np.random.default_rng(0)
    live = rng.uniform(0, 1, 200)
    slightly, much = live - rng.normal(0, 0.1, 200), live - 0.1
    assert compare_rankings(slightly.clip(0, 1).tolist(), live.tolist(), live.tolist()).passed
    worse = compare_rankings(much.tolist(), live.tolist(), live.tolist(), live_name="shop@2")
    assert not worse.passed
    assert "nDCG@20 is worse than shop@2 on the whole by 0.1000" in worse.reason
    assert compare_rankings(live.tolist(), None, much.tolist()).passed
    refused = compare_rankings(much.tolist(), None, live.tolist(), plain_name="item-kNN")
    assert (refused.passed, refused.compared_with) == (False, "item-kNN")
    assert "item-kNN" in refused.reason


@pytest.mark.parametrize("rows", [0, 2])
def test_no_rows_or_unequal_lengths_are_refused(rows):
    with pytest.raises(BadInput):
        compare_classifiers(["a"] * rows, None, ["a"] * rows, ["a"] * (rows and 3))
    with pytest.raises(BadInput):
        compare_rankings([0.5] * rows, [0.5] * 3, [0.5] * 3)
    with pytest.raises(BadInput, match="slice x"):
        compare_classifiers(TRUTH, TRUTH, TRUTH, TRUTH, {"x": [True]})


VECTORS = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
IDS = [f"chunk{n}" for n in range(300)]


def encode(ids):
    return VECTORS[[IDS.index(name) for name in ids]]


def index_of(ids, vectors):
    index = FlatIndex(8)
    index.add(ids, vectors)
    return index


def judged(index, expected=IDS, built_with="f1", encode=encode):
    return check_index(index, expected, encoder="f1", built_with=built_with, encode=encode)


def test_a_sound_index_passes_with_200_sampled_rows():
    verdict = judged(index_of(IDS, VECTORS))
    assert (verdict.passed, verdict.reason, verdict.compared_with) == (True, None, "structure")
    assert verdict.metrics == {"rows": 300, "expected": 300, "sampled": 200, "found_themselves": 200}


def test_rows_of_equal_text_find_themselves():
    same = np.repeat(VECTORS[:3], 100, axis=0)
    assert judged(index_of(IDS, same), encode=lambda ids: same[[IDS.index(name) for name in ids]]).passed


def test_an_empty_index_of_nothing_passes():
    assert judged(FlatIndex(8), []).passed


@pytest.mark.parametrize(
    ("index", "built_with", "said"),
    [
        (index_of(IDS[1:], VECTORS[1:]), "f1", "1 of 300 rows are missing, 0 are too many, such as 'chunk0'"),
        (index_of([*IDS, "x"], np.vstack([VECTORS, VECTORS[:1]])), "f1", "1 are too many, such as 'x'"),
        (index_of(IDS, VECTORS), "f0", "made by encoder f0"),
        (index_of([*IDS[1:], IDS[0]], VECTORS), "f1", "200 of 200 sampled rows do not find themselves"),
    ],
)
def test_an_unsound_index_is_refused_with_the_reason(index, built_with, said):
    verdict = judged(index, built_with=built_with)
    assert not verdict.passed
    assert said in verdict.reason
