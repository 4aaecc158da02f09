import numpy as np
import pytest

from shared.errors import BadInput
from shared.finetuning.label_noise import confident_errors, suspects

CLASSES, ROWS, DIM = 6, 600, 24


def planted(share, seed=0):
    """Vectors, labels with a share of wrong ones, texts, and which rows are wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, CLASSES, ROWS)
    vectors = np.eye(DIM)[true] + 0.15 * rng.normal(size=(ROWS, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = rng.random(ROWS) < share
    given = np.where(wrong, (true + rng.integers(1, CLASSES, ROWS)) % CLASSES, true)
    return (
        vectors.astype(np.float32),
        [f"l{one}" for one in given],
        [f"text {i}" for i in range(ROWS)],
        wrong,
        true,
    )


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_planted_noise_is_found(share):
    vectors, labels, texts, wrong, true = planted(share)
    report = suspects(vectors, labels, texts)
    found = np.zeros(ROWS, bool)
    found[[one.row for one in report.suspects]] = True
    assert (found & wrong).sum() / wrong.sum() > 0.75  # recall
    assert (found & wrong).sum() / found.sum() > 0.8  # precision
    assert report.share == pytest.approx(share, abs=0.04)
    named = [one.suggested == f"l{true[one.row]}" for one in report.suspects if wrong[one.row]]
    assert np.mean(named) > 0.95
    gains = [one.instead - one.believed for one in report.suspects]
    assert gains == sorted(gains, reverse=True)


def test_clean_rows_are_left_alone():
    vectors, labels, texts, _, _ = planted(0.0)
    assert suspects(vectors, labels, texts).share < 0.02


def test_a_wrong_twin_does_not_vouch_for_itself():
    vectors, labels, texts, _, true = planted(0.0)
    row = 5
    wrong = f"l{(true[row] + 1) % CLASSES}"
    many = np.concatenate([vectors, np.repeat(vectors[row : row + 1], 3, axis=0)])
    report = suspects(many, [*labels, wrong, wrong, wrong], [*texts, *[texts[row]] * 3])
    assert {600, 601, 602} <= {one.row for one in report.suspects}


def test_a_label_with_one_text_is_not_judged():
    vectors, labels, texts, _, _ = planted(0.0)
    report = suspects(vectors, ["alone", *labels[1:]], texts)
    assert report.unjudged == [0]
    with pytest.raises(BadInput, match="two labels"):
        suspects(vectors[:3], ["a", "a", "b"], texts[:3])


def test_the_confident_joint_by_hand():
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9], [0.45, 0.55]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    # cuts: label 0 (.9 + .8 + .2) / 3 = .633, label 1 (.7 + .9 + .55) / 3 = .717
    assert confident_errors(shares, labels) == [(2, 1)]
