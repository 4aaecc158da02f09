import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from shared.evaluation.baselines import frozen_regression, tfidf_svm
from shared.evaluation.classification import (
    accuracy,
    bootstrap,
    confusion,
    expected_calibration_error,
    macro_f1,
    micro_f1,
    paired_difference,
    reliability,
)

TRUTH = ["a", "a", "a", "b", "c", "c"]
SAID = ["a", "a", "b", "b", "c", "a"]


def test_known_figures():
    assert accuracy(TRUTH, SAID) == pytest.approx(4 / 6)
    assert macro_f1(TRUTH, SAID) == pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 3)
    assert macro_f1(["a", "b"], ["a", "z"]) == pytest.approx(0.5)
    assert confusion(TRUTH, SAID, ["a", "b", "c"]) == [[2, 1, 0], [0, 1, 0], [1, 0, 1]]
    truth, said = np.array([[1, 0], [1, 1]], bool), np.array([[1, 1], [0, 1]], bool)
    assert micro_f1(truth, said) == pytest.approx(2 * 2 / 6)
    assert micro_f1(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1.0


def test_no_rows_have_no_figure():
    assert math.isnan(accuracy([], []))
    assert math.isnan(macro_f1([], []))
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_calibration_by_bins():
    confidence, right = np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, True, True, False])
    assert expected_calibration_error(confidence, right, bins=10) == pytest.approx(0.05)
    assert [(b["rows"], b["accuracy"]) for b in reliability(confidence, right, bins=10)] == [(2, 0.5), (2, 1)]
    assert reliability(np.array([0.0, 1.0]), np.array([False, True]), bins=2)[0]["from"] == 0


def test_intervals_hold_their_value_and_follow_the_seed():
    rng = np.random.default_rng(0)
    truth = [str(n) for n in rng.integers(0, 3, 300)]
    good = [t if rng.random() < 0.9 else "0" for t in truth]
    value, low, high = bootstrap(accuracy, truth, good, seed=1, draws=200)
    assert low < value < high
    assert bootstrap(accuracy, truth, good, seed=1, draws=200) == (value, low, high)
    assert paired_difference(accuracy, truth, good, good) == (0, 0, 0)
    bad = [t if rng.random() < 0.6 else "0" for t in truth]
    value, low, high = paired_difference(accuracy, truth, good, bad, draws=200)
    assert 0 < low < value < high


def test_the_plain_methods_learn_plain_things():
    texts = ["my card is lost", "card not here", "the rate is bad", "which rate today"] * 3
    labels = ["card", "card", "rate", "rate"] * 3
    assert tfidf_svm(texts, labels, ["lost card", "rate"]) == ["card", "rate"]
    assert tfidf_svm(["a"], ["only"], ["b", "c"]) == ["only", "only"]
    vectors = np.array([[1, 0], [0, 1]] * 6, np.float32)
    assert frozen_regression(vectors, ["x", "y"] * 6, vectors[:2]) == ["x", "y"]
    assert frozen_regression(vectors, ["x"] * 12, vectors[:1]) == ["x"]
    assert frozen_regression(vectors[:3], ["x", "y", "x"], vectors[:2]) == ["x", "y"]  # too few to choose on


def test_the_plain_method_reads_single_characters_of_texts_without_spaces():
    texts = [f"{a}{b}{c}" for a in "天地人" for b in "猫狗" for c in "红黄蓝绿白"]
    labels = ["cat" if "猫" in text else "dog" for text in texts]
    assert tfidf_svm(texts, labels, ["金猫黑", "金狗黑", "犬"])[:2] == ["cat", "dog"]


def test_a_plain_fit_of_noisy_labels_is_held_back():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 900)
    vectors = rng.normal(size=(2, 80))[truth] * 0.4 + rng.normal(size=(900, 80))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    told = np.where(rng.random(900) < 0.35, 1 - truth, truth).astype(str)
    said = frozen_regression(vectors[:300], told[:300].tolist(), vectors[300:])
    loose = LogisticRegression(C=30, max_iter=500).fit(vectors[:300], told[:300]).predict(vectors[300:])
    right = truth[300:].astype(str)
    assert np.mean(np.asarray(said) == right) > np.mean(loose == right) + 0.02
