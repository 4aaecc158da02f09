import numpy as np
import pytest

from shared.errors import BadInput
from shared.evaluation.classification import accuracy
from shared.evaluation.fairness import gaps
from shared.evaluation.robustness import CHANGES, drops, perturbed
from shared.evaluation.slices import length_names, sliced


def test_slices_come_worst_first():
    truth = ["a"] * 60
    said = ["a"] * 20 + ["b"] * 10 + ["a"] * 10 + ["b"] * 2 + ["a"] * 18
    names = ["mail"] * 20 + ["web"] * 20 + ["phone"] * 15 + ["rare"] * 4 + [None]
    found = sliced(accuracy, names, truth, said)
    assert [(one.name, one.rows) for one in found] == [("web", 20), ("phone", 15), ("mail", 20)]
    assert found[0].value == 0.5
    assert found[0].low < 0.5 < found[0].high
    assert found[2][2:] == (1, 1, 1)


def test_lengths_are_in_words_of_any_script():
    assert length_names(["", "one two", "我的卡什么时候到", "word " * 60]) == [
        "0-5 words", "0-5 words", "6-10 words", "51+ words",
    ]  # fmt: skip


def world(difference, seed=0):
    """1,000 rows of two groups, whose accuracies differ by `difference`."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(["a", "b"], 500)
    truth = rng.choice(["yes", "no"], 1000)
    wrong = rng.random(1000) < np.where(groups == "a", 0.1, 0.1 + difference)
    said = np.where(wrong, np.where(truth == "yes", "no", "yes"), truth)
    return truth, said, groups


def test_a_planted_gap_is_found_and_none_where_there_is_none():
    planted = {gap.measure: gap for gap in gaps(*world(0.2), wanted="yes")}
    assert list(planted) == ["accuracy", "selection_rate", "equal_opportunity"]
    gap = planted["accuracy"]
    assert (gap.high_group, gap.low_group) == ("a", "b")
    assert gap.low > 0.1
    assert gap.value == pytest.approx(0.2, abs=0.05)
    assert planted["equal_opportunity"].low > 0
    alarms = [gaps(*world(0.0, seed), wanted="yes", draws=200)[0].low > 0 for seed in range(40)]
    assert sum(alarms) <= 8  # 2 are to be expected


def test_gaps_need_two_groups():
    with pytest.raises(BadInput, match="two groups of at least 20 rows; there are a"):
        gaps(["x"] * 30, ["x"] * 30, ["a"] * 25 + ["b"] * 5, wanted="x")


def test_a_measure_that_one_group_lacks_is_left_out():
    found = gaps(["yes"] * 30 + ["no"] * 30, ["yes"] * 60, ["a"] * 30 + ["b"] * 30, wanted="yes")
    assert [gap.measure for gap in found] == ["accuracy", "selection_rate"]


TEXTS = ["Where is my card? It was sent last week.", "我的卡什么时候到？", "ok", ""]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seeded_small_and_leaves_something(change):
    first = perturbed(TEXTS, change, seed=1)
    assert first == perturbed(TEXTS, change, seed=1)
    assert perturbed(TEXTS[:1], change, seed=1) == first[:1]  # whatever stands beside it
    assert first[0] != TEXTS[0]
    assert all(new.strip() for new, old in zip(first, TEXTS, strict=True) if old)
    assert abs(len(first[0]) - len(TEXTS[0])) <= 8


def test_typing_errors_hit_chinese_too():
    assert len(perturbed(TEXTS, "typos")[1]) == len(TEXTS[1]) - 1


def test_a_reader_of_capitals_drops_where_case_is_lost():
    texts = [name for name in ("Anna", "Boris", "chair", "door") for _ in range(20)]
    truth = ["name" if text[0].isupper() else "thing" for text in texts]

    def predict(batch):
        return ["name" if text[:1].isupper() else "thing" for text in batch]

    found = {one.change: one for one in drops(accuracy, predict, texts, truth)}
    assert found["lower_case"].drop == 0.5
    assert found["lower_case"].low > 0.3
    assert found["no_punctuation"][2:] == (0, 0, 0, 0)  # nothing changed, nothing fell
    assert found["upper_case"].value == 0.5
    assert found["upper_case"].changed == 1


def test_rewritten_texts_are_measured_where_there_are_any():
    found = drops(accuracy, lambda batch: batch, ["a", "b"], ["a", "b"], rewritten={"paraphrase": ["", "x"]})
    assert found[-1].change == "paraphrase"
    assert (found[-1].value, found[-1].drop) == (0, 1)
