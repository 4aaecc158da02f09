import math

import numpy as np
import pytest

from shared.evaluation.ranking import (
    bootstrap_mean,
    mrr,
    ndcg_at_k,
    ndcg_each,
    paired_difference,
    recall_at_k,
    recall_each,
    reciprocal_each,
)

RANKED = [["a", "b", "c", "d"], ["x", "y", "z"], ["a", "b"], []]
RIGHT = [{"b", "d", "q"}, {"x"}, set(), {"a"}]


def test_known_figures_query_by_query():
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    expected = [(1 / np.log2(3) + 1 / np.log2(5)) / ideal, 1, np.nan, 0]
    assert ndcg_each(RANKED, RIGHT, 4) == pytest.approx(expected, nan_ok=True)
    assert recall_each(RANKED, RIGHT, 2) == pytest.approx([1 / 2, 1, np.nan, 0], nan_ok=True)
    assert recall_each(RANKED, RIGHT, 4) == pytest.approx([2 / 3, 1, np.nan, 0], nan_ok=True)
    assert reciprocal_each(RANKED, RIGHT) == pytest.approx([1 / 2, 1, np.nan, 0], nan_ok=True)
    assert reciprocal_each(RANKED, RIGHT, 1) == pytest.approx([0, 1, np.nan, 0], nan_ok=True)


def test_means_leave_out_queries_without_a_right_answer():
    assert mrr(RANKED, RIGHT) == pytest.approx(0.5)
    assert recall_at_k(RANKED, RIGHT, 2) == pytest.approx(0.5)
    assert ndcg_at_k([["a"]], [["a"]], 20) == 1.0
    assert math.isnan(ndcg_at_k([["a"]], [set()], 20))


def test_a_paired_interval_is_narrower_than_two():
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    one, other = hard + 0.05 + rng.normal(0, 0.01, 200), hard
    value, low, high = paired_difference(one, other)
    assert low < value < high
    assert low > 0
    mean, left, right = bootstrap_mean(one)
    assert right - left > 5 * (high - low)
    assert left < mean < right
    assert all(math.isnan(v) for v in bootstrap_mean(np.array([np.nan])))
