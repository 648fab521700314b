"""The profile-likelihood interval of a mean of shares, against derived and searched bounds."""

import math

import numpy as np
import pytest
from scipy import special

from contraflow.auditing.statistics.profile import BUDGET, mean_interval


def cost(value: float, size: float, rates: np.ndarray) -> np.ndarray:
    return size * (special.rel_entr(value, rates) + special.rel_entr(1 - value, 1 - rates))


def test_no_failure_anywhere_is_bounded_by_its_exact_chance() -> None:
    """f edits of n questions: (1 - M)^(f n) = 0.05."""
    for f, n in ((1, 5.0), (12, 16.0), (50, 3.5)):
        low, high = mean_interval(np.zeros(f), np.full(f, n))
        assert low == 0.0
        assert high == pytest.approx(1 - 0.05 ** (1 / (f * n)))


def test_unseen_failures_go_where_least_was_asked() -> None:
    """Maximize Σ M with Σ n log(1 - M) = log 0.05: 1 - M = n / t, or M = 0 for n above t.

    For n = 1, 2 and 100: log t + 2 log(t / 2) = 3.0, so t = (4 e^3.0)^(1/3) = 80^(1/3).
    """
    t = 80 ** (1 / 3)
    _, high = mean_interval(np.zeros(3), np.array([1.0, 2.0, 100.0]))
    assert high == pytest.approx(((1 - 1 / t) + (1 - 2 / t)) / 3)


@pytest.mark.parametrize("values", [(0.2, 0.7), (0.0, 1.0), (0.0, 0.4), (1.0, 1.0)])
@pytest.mark.parametrize("sizes", [(4.0, 4.0), (0.2, 9.0), (30.0, 2.0)])
def test_bounds_are_those_of_a_search(
    values: tuple[float, float], sizes: tuple[float, float]
) -> None:
    v, n = np.array(values), np.array(sizes)
    rates = np.linspace(1e-6, 1 - 1e-6, 1001)
    first, second = (cost(v[i], n[i], rates) for i in (0, 1))
    means = (rates[:, None] + rates)[first[:, None] + second <= BUDGET] / 2
    assert mean_interval(v, n) == pytest.approx((means.min(), means.max()), abs=2e-3)


def test_an_edit_without_trials_moves_the_mean_by_its_share_only() -> None:
    low, high = mean_interval(np.array([1.0, 1.0, 0.0]), np.array([1e9, 1e-9, 1e9]))
    assert (low, high) == pytest.approx((1 / 3, 2 / 3), abs=1e-3)


def test_many_trials_give_the_interval_of_a_normal_mean() -> None:
    """n KL(v, R) is n (R - v)² / (2 v (1 - v)) near v: half the width is sqrt(2 · 3.0) errors."""
    low, high = mean_interval(np.full(10, 0.3), np.full(10, 1e5))
    error = math.sqrt(0.3 * 0.7 / 1e6)
    assert high - 0.3 == pytest.approx(math.sqrt(2 * BUDGET) * error, rel=0.01)
    assert 0.3 - low == pytest.approx(math.sqrt(2 * BUDGET) * error, rel=0.01)


def test_both_sides_mirror_each_other() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        v, n = rng.random(7).round(1), rng.exponential(5, 7)
        low, high = mean_interval(v, n)
        assert low <= v.mean() <= high
        assert mean_interval(1 - v, n) == pytest.approx((1 - high, 1 - low))
