import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from shared.evaluation.classification import accuracy, macro_f1, mcc, weighted_f1
from shared.evaluation.detection import auroc, average_precision, average_precision_each
from shared.evaluation.ranking import mean
from shared.evaluation.regression import mse, r2, ranks, spearman
from shared.evaluation.resampling import as_codes, interval

RNG = np.random.default_rng(3)
TRUTH = RNG.choice(["a", "b", "c"], 200)
SAID = np.where(RNG.random(200) < 0.6, TRUTH, RNG.choice(["a", "b", "d"], 200))
NUMBERS = RNG.normal(size=100).round(1)  # rounded: there are ties
GUESSES = (NUMBERS + RNG.normal(size=100)).round(1)
THERE = RNG.random(100) < 0.3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (weighted_f1(TRUTH, SAID), metrics.f1_score(TRUTH, SAID, average="weighted", labels=["a", "b", "c"])),
        (mcc(TRUTH, SAID), metrics.matthews_corrcoef(TRUTH, SAID)),
        (mse(NUMBERS, GUESSES), metrics.mean_squared_error(NUMBERS, GUESSES)),
        (r2(NUMBERS, GUESSES), metrics.r2_score(NUMBERS, GUESSES)),
        (spearman(NUMBERS, GUESSES), stats.spearmanr(NUMBERS, GUESSES).statistic),
        (auroc(THERE, GUESSES), metrics.roc_auc_score(THERE, GUESSES)),
        (average_precision(THERE, GUESSES), metrics.average_precision_score(THERE, GUESSES)),
    ],
    ids="weighted_f1 mcc mse r2 spearman auroc average_precision".split(),
)
def test_figures_are_those_of_scikit_learn(ours, theirs):
    assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (mcc(["a", "b"], ["a", "b"]), 1.0),
        (mcc(["a", "b"], ["b", "a"]), -1.0),
        (mcc(["a", "b"], ["a", "a"]), 0.0),
        (weighted_f1(["a", "a", "a", "b"], ["a", "a", "a", "a"]), 0.75 * 6 / 7),
        (spearman([1, 2, 3], [1, 4, 9]), 1.0),
        (r2([1, 2, 3], [2, 2, 2]), 0.0),
        (auroc([0, 0, 1], [1, 2, 2]), 0.75),
        (average_precision([True, False, True], [3, 2, 1]), (1 + 2 / 3) / 2),
        (mean(average_precision_each("xxyyz", [1, 0, 0, 1, 0], [2, 1, 2, 1, 9])), 0.75),
    ],
)
def test_known_answers(value, wanted):
    assert value == pytest.approx(wanted)


@pytest.mark.parametrize(
    "value",
    [
        mcc([], []), weighted_f1([], []), mse([], []), r2([1], [1]), r2([2, 2], [1, 3]),
        spearman([1, 1], [1, 2]), auroc([1, 1], [1, 2]), average_precision([0, 0], [1, 2]),
        average_precision_each("a", [0], [1])[0], mean(average_precision_each("a", [0], [1])),
    ],
)  # fmt: skip
def test_what_has_no_answer_is_nan(value):
    assert np.isnan(value)


def test_equal_values_share_their_rank():
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1, 3.5, 2]


def test_an_interval_holds_the_value_and_narrows_with_rows():
    value, low, high = interval(accuracy, TRUTH, SAID)
    _, few_low, few_high = interval(accuracy, TRUTH[:40], SAID[:40])
    assert low < value < high
    assert high - low < few_high - few_low
    assert interval(accuracy, TRUTH, SAID) == (value, low, high)  # seeded


def test_draws_without_the_other_class_are_left_out():
    value, low, high = interval(auroc, [0, 0, 0, 1], [1, 2, 3, 4], draws=50)
    assert (value, low, high) == (1, 1, 1)
    assert np.isnan(interval(accuracy, [], [])).all()


def test_groups_are_drawn_whole():
    truth = ["a"] * 100
    said = ["a"] * 50 + ["b"] * 50
    whole = interval(accuracy, truth, said, groups=[0] * 50 + [1] * 50)
    assert whole[1:] == (0, 1)


def test_numbers_for_names_change_no_figure():
    truth, said = as_codes(TRUTH, SAID)
    assert (mcc(truth, said), macro_f1(truth, said)) == (mcc(TRUTH, SAID), macro_f1(TRUTH, SAID))
