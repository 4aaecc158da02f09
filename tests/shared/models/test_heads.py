import numpy as np
import pytest
from pydantic import ValidationError

from shared.models.batching import batches, pad
from shared.models.heads import HeadSpec


def test_temperature_softens_and_keeps_the_order():
    logits = np.array([[2.0, 0.0, -1.0]], np.float32)
    sharp = HeadSpec(name="h", kind="classify", labels=["a", "b", "c"]).decode(logits)
    soft = HeadSpec(name="h", kind="classify", labels=["a", "b", "c"], temperature=4.0).decode(logits)
    assert sharp[0] == pytest.approx([0.8438, 0.1142, 0.0420], abs=1e-4)
    assert soft[0] == pytest.approx([0.4810, 0.2918, 0.2272], abs=1e-4)


def test_several_labels_are_independent():
    head = HeadSpec(name="h", kind="multilabel", labels=["a", "b"], thresholds=[0.5, 0.3])
    assert head.decode(np.array([[0.0, 1000.0], [-1000.0, 0.0]], np.float32)).tolist() == [[0.5, 1], [0, 0.5]]
    assert head.decode(np.zeros((0, 2), np.float32)).shape == (0, 2)


def test_large_logits_are_safe():
    head = HeadSpec(name="h", kind="classify", labels=["a", "b"])
    assert head.decode(np.array([[1e6, -1e6]], np.float32)).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "classify"},
        {"kind": "embed", "labels": ["a"]},
        {"kind": "multilabel", "labels": ["a", "b"], "thresholds": [0.5]},
        {"kind": "classify", "labels": ["a", "b"], "temperature": 0},
        {"kind": "span", "labels": ["a"]},
    ],
)
def test_a_head_that_can_not_be_is_refused(fields):
    with pytest.raises(ValidationError):
        HeadSpec(name="h", **fields)


def test_batches_hold_every_position_once_and_like_lengths():
    lengths = [3, 9, 3, 100, 1, 9]
    found = list(batches(lengths, rows=2, tokens=100))
    assert found == [[3], [1, 5], [0, 2], [4]]
    assert list(batches([], rows=2)) == []
    assert list(batches([500], tokens=100)) == [[0]]
    assert list(batches([100, 10, 20, 30, 72, 69])) == [[0, 4, 5, 3], [2, 1]]  # four are worth a pass
    assert list(batches([100, 90, 80, 75, 72, 69, 10])) == [[0, 1, 2, 3, 4], [5, 6]]


def test_padding_is_masked():
    ids, mask = pad([[5, 6], [7]], pad_id=1)
    assert ids.tolist() == [[5, 6], [7, 1]]
    assert mask.tolist() == [[1, 1], [1, 0]]
