import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp

from shared.evaluation import drift


def draws(n, seed, middle=0.0, dim=8):
    return np.random.default_rng(seed).normal(middle, 1.0, size=(n, dim))


def test_the_stability_index_is_the_sum_of_its_terms():
    reference, current = np.repeat([0, 1], [60, 40]), np.repeat([0, 1], [30, 70])
    p, q = np.array([60.5, 40.5]) / 101, np.array([30.5, 70.5]) / 101
    found = drift.psi(reference, current)
    assert found.value == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert found.p_value == pytest.approx(1 / 500)


def test_a_label_that_one_side_lacks_is_finite():
    found = drift.psi(np.zeros(50, int), np.ones(50, int))
    assert 5 < found.value < 20


@pytest.mark.parametrize("decimals", [8, 0], ids=["distinct", "many equal"])
def test_the_distance_of_distributions_is_that_of_scipy(decimals):
    reference, current = (draws(n, n, m, 1)[:, 0].round(decimals) for n, m in ((80, 0), (60, 0.6)))
    found, wanted = drift.ks(reference, current), ks_2samp(reference, current)
    assert found.value == pytest.approx(wanted.statistic)
    assert found.p_value <= 0.02
    assert wanted.pvalue <= 0.02


def test_the_energy_of_vectors_is_the_mean_of_their_distances():
    one, other = draws(40, 0), draws(30, 1, 1.0)
    across, inside, beyond = cdist(one, other).mean(), cdist(one, one), cdist(other, other)
    between = 2 * across - inside.sum() / (40 * 39) - beyond.sum() / (30 * 29)
    found = drift.energy(one, other)
    assert found.value == pytest.approx(between / (2 * across))
    assert found.p_value == pytest.approx(1 / 500)


@pytest.mark.parametrize("measure", [drift.energy, lambda a, b, **o: drift.ks(a[:, 0], b[:, 0], **o)])
def test_without_a_difference_chances_are_even(measure):
    chances = [measure(draws(40, 2 * i), draws(50, 2 * i + 1), draws=99).p_value for i in range(60)]
    assert 0.35 < np.mean(chances) < 0.65
    assert np.mean(np.array(chances) <= 0.1) <= 0.2


def test_the_same_seed_gives_the_same_chance_and_equal_samples_none():
    one, other = draws(30, 0), draws(30, 1)
    assert drift.energy(one, other) == drift.energy(one, other)
    assert drift.energy(one, one).value == 0
    assert drift.energy(np.ones((5, 3)), np.ones((5, 3))) == (0.0, 1.0)


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0)])
def test_an_empty_sample_is_refused(sizes):
    with pytest.raises(ValueError, match="both need one"):
        drift.energy(*(np.zeros((n, 2)) for n in sizes))
    with pytest.raises(ValueError, match="both need one"):
        drift.ks(*(np.zeros(n) for n in sizes))
