import numpy as np
import pytest

from shared.errors import BadInput
from shared.evaluation.conformal import coverage, label_sets, lac_threshold
from shared.evaluation.selective import closed_accuracy, curve, in_scope_accuracy, oos_auroc, oos_recall

FOREIGN = np.array([False, False, False, False, True, True])
RIGHT = np.array([True, True, True, False, False, True])  # that of a foreign row is not read
SCORES = np.array([0.1, 0.2, 0.6, 0.5, 0.7, 0.4])


def test_a_refused_row_is_no_right_answer():
    refused = SCORES > 0.55
    assert closed_accuracy(FOREIGN, RIGHT) == 0.75
    assert in_scope_accuracy(FOREIGN, RIGHT, refused) == 0.5
    assert oos_recall(FOREIGN, refused) == 0.5
    assert oos_auroc(FOREIGN, SCORES) == pytest.approx(6 / 8)


def test_the_curve_goes_from_refusing_all_to_refusing_none():
    points = curve(FOREIGN, RIGHT, SCORES)
    assert points[0][1:] == (0, 1)
    assert points[-1][1:] == (0.75, 0)
    assert [p.threshold for p in points] == sorted(p.threshold for p in points)
    assert len(curve(np.zeros(900, bool), np.ones(900, bool), np.arange(900.0), points=11)) <= 11
    assert curve(FOREIGN[:0], RIGHT[:0], SCORES[:0]) == []


def probabilities(count, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, count)
    logits = rng.normal(size=(count, 4))
    logits[np.arange(count), truth] += 1.5
    shares = np.exp(logits)
    return shares / shares.sum(1, keepdims=True), truth


@pytest.mark.parametrize("miss", [0.05, 0.1])
def test_sets_keep_their_promise_on_new_rows(miss):
    told, truth = probabilities(2000, 0)
    new, real = probabilities(4000, 1)
    got = coverage(label_sets(new, lac_threshold(told, truth, miss=miss)), real)
    assert got.coverage == pytest.approx(1 - miss, abs=0.02)
    assert 1 <= got.size < 4


def test_too_few_rows_give_all_labels():
    told, truth = probabilities(8, 0)
    threshold = lac_threshold(told, truth, miss=0.1)
    assert threshold == 0
    assert [len(one) for one in label_sets(told, threshold)] == [4] * 8


def test_sets_are_sorted_cut_and_never_empty():
    told = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    assert label_sets(told, 0.25) == [[1, 2], [0, 1, 2]]
    assert label_sets(told, 0.25, most=2) == [[1, 2], [0, 1]]
    assert label_sets(told, 0.9) == [[1], [0]]


def test_the_row_at_the_quantile_belongs():
    told = np.array([[p, 1 - p] for p in (0.91, 0.82, 0.73, 0.64, 0.55)])
    threshold = lac_threshold(told, [0] * 5, miss=1 / 3)  # the fourth of five
    assert threshold == pytest.approx(0.64)
    assert [0 in one for one in label_sets(told, threshold)] == [True, True, True, True, True]
    assert label_sets(np.array([[0.36, 0.64]]), threshold) == [[1]]


def test_wrong_questions_are_refused():
    with pytest.raises(BadInput, match="above 0 and below 1"):
        lac_threshold(np.ones((1, 1)), [0], miss=1)
    with pytest.raises(BadInput, match="validation rows"):
        lac_threshold(np.ones((0, 2)), [])
