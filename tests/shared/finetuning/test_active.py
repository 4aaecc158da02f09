import numpy as np
import pytest

from shared.errors import BadInput
from shared.finetuning.active import committee, disagreement, k_centre, uncertainty

RNG = np.random.default_rng(0)


def test_the_narrowest_margin_is_the_most_doubtful():
    told = np.array([[0.9, 0.05, 0.05], [0.5, 0.49, 0.01], [0.4, 0.3, 0.3]], np.float32)
    assert uncertainty(told, "classify") == pytest.approx([0.15, 0.99, 0.9], abs=1e-6)
    several = np.array([[0.9, 0.1], [0.9, 0.45]], np.float32)
    assert uncertainty(several, "multilabel") == pytest.approx([0.2, 0.9], abs=1e-6)
    assert uncertainty(np.ones((2, 1), np.float32), "classify").tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["classify", "multilabel"])
def test_a_committee_that_agrees_is_not_asked(kind):
    doubtful = np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)
    other = np.array([[0.5, 0.5], [0.1, 0.9]], np.float32)
    assert disagreement([doubtful, doubtful], kind) == pytest.approx([0, 0], abs=1e-9)
    assert disagreement([doubtful, other], kind)[1] > 0.3
    with pytest.raises(BadInput, match="two members, there are 1"):
        disagreement([doubtful], kind)


def test_centres_are_spread_and_weighted():
    rows = np.array([[1, 0, 0], [0.999, 0.04, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert k_centre(rows, 3).tolist() == [0, 2, 3]
    assert k_centre(rows, 2, weights=np.array([0.1, 1, 0.1, 0.2])).tolist() == [1, 3]
    assert k_centre(rows, 2, known=rows[2:3]).tolist() == [0, 3]
    assert sorted(k_centre(rows, 9).tolist()) == [0, 1, 2, 3]
    assert k_centre(rows[:0], 3).tolist() == []


def test_a_committee_quarrels_between_the_labels():
    centres = np.eye(3, dtype=np.float32)
    labels = np.repeat([0, 2], 20)
    vectors = centres[labels] + RNG.normal(size=(40, 3)).astype(np.float32) * 0.3
    unseen = np.array([[1, 0, 0], [0.5, 0, 0.5], [0, 0, 1]], np.float32)
    members = committee(vectors, labels, unseen, 3)
    assert len(members) == 7
    assert all(one[:, 1].max() == 0 for one in members)  # a label without a row
    assert disagreement(members, "classify").argmax() == 1
    again = committee(vectors, labels, unseen, 3)
    assert all((one == other).all() for one, other in zip(members, again, strict=True))
    with pytest.raises(BadInput, match="two labels"):
        committee(vectors[:20], labels[:20], unseen, 3)
