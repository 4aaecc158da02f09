import math

import numpy as np
import pytest

from shared.evaluation.generation import common_length, perplexity, rouge_l, rouge_l_each


@pytest.mark.parametrize(
    ("reference", "said", "value"),
    [
        ("police killed the gunman", "police kill the gunman", 0.75),  # Lin 2004: LCS 3 of 4 words each
        ("police killed the gunman", "the gunman kill police", 0.5),  # LCS "the gunman"
        ("the card came", "The card came!", 1.0),
        ("the card came", "the card", 0.8),  # recall 2/3, precision 1
        ("卡在路上", "卡在家", 4 / 7),
        ("the card", "money", 0.0),
        ("the card", "", 0.0),
        ("", "...", 1.0),
    ],
)
def test_rouge_l(reference, said, value):
    assert rouge_l(reference, said) == pytest.approx(value)
    assert rouge_l(said, reference) == pytest.approx(value)


def test_common_length_agrees_with_the_table():
    def table(one, other):
        rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
        for i, a in enumerate(one, 1):
            for j, b in enumerate(other, 1):
                rows[i][j] = rows[i - 1][j - 1] + 1 if a == b else max(rows[i - 1][j], rows[i][j - 1])
        return rows[-1][-1]

    rng = np.random.default_rng(0)
    for _ in range(200):
        one, other = (list(map(str, rng.integers(0, 5, rng.integers(0, 90)))) for _ in range(2))
        assert common_length(one, other) == table(one, other)


def test_rows_keep_their_order():
    assert rouge_l_each(["a b", "c"], ["a b", "d"]).tolist() == [1.0, 0.0]


def test_perplexity_weighs_tokens():
    assert perplexity(np.array([math.log(2) * 3, math.log(8)]), np.array([3, 1])) == pytest.approx(2**1.5)
    assert math.isnan(perplexity(np.zeros(0), np.zeros(0)))
