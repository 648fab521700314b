"""Effective numbers of draws, weights of unlikely questions, and counts, against known cases."""

import math

import numpy as np
import pytest
from scipy import stats

from contraflow.auditing.statistics.spread import (
    MOST_EFFECTIVE,
    Spread,
    gamma_interval,
    inclusion,
    unlikely_weights,
)


@pytest.mark.parametrize("n", [1, 5, 40])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_equal_draws_have_their_own_number(n: int, share: float) -> None:
    """Σ u² over hits is share / n, over misses (1 - share) / n."""
    spread = Spread(hits=share / n, misses=(1 - share) / n, largest=1 / n)
    assert spread.n_effective(share) == pytest.approx(n)


def test_hits_of_small_weight_raise_the_effective_number() -> None:
    """20 hits of 0.01 and 8 misses of 0.1: V = Σ u² (h - R)² is small for the hits."""
    spread = Spread(hits=20 * 0.01**2, misses=8 * 0.1**2, largest=0.1)
    assert 10 < spread.n_effective(0.2) < 28


def test_nothing_unknown_has_the_most_effective_number() -> None:
    assert Spread(hits=0.0, misses=0.0, largest=0.0).n_effective(0.5) == MOST_EFFECTIVE
    assert Spread(hits=0.0, misses=0.0, largest=1e-5).n_effective(0.5) <= MOST_EFFECTIVE


def test_inclusion_is_probability_over_weight() -> None:
    found = inclusion(np.array([0.5, 0.1, 0.1]), np.log([0.25, 0.1, 0.2]))
    assert found == pytest.approx([0.5, 1.0, 1.0])


def test_unlikely_weights_are_exp_kappa_in_one_sample() -> None:
    """With pi = 1 - exp(-p exp(-kappa)): p / -log(1 - pi) = exp(kappa) for every p."""
    p, kappa = np.array([1e-200, 1e-12, 0.01, 0.3]), -3.0
    pi = -np.expm1(-p * math.exp(-kappa))
    assert unlikely_weights(p / pi, pi) == pytest.approx(math.exp(kappa))


def test_unlikely_weights_of_sure_and_of_hopeless_questions() -> None:
    assert unlikely_weights(np.array([0.4, 0.4]), np.array([1.0, 0.0])) == pytest.approx([0, 0.4])


@pytest.mark.parametrize("count", [0, 1, 7, 60])
def test_gamma_interval_of_unit_weights_is_that_of_a_count(count: int) -> None:
    """Garwood's exact interval: chi2(0.025, 2 x) / 2 to chi2(0.975, 2 x + 2) / 2."""
    low, high = gamma_interval(count, count, 1.0)
    assert low == pytest.approx(stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0.0)
    assert high == pytest.approx(stats.chi2.ppf(0.975, 2 * count + 2) / 2)
