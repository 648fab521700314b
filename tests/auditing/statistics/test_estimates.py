"""Rates of an edit: derived values, and coverage where the exact rate is known."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.statistics.estimates import (
    effective,
    pre_post_matrix,
    proportion,
    rate,
    wilson,
)
from support.draws import log_softmax
from support.spaces import (
    COUNTS,
    N_ITEMS,
    NOMINAL_AT_LEAST,
    Space,
    covers,
    estimated,
    sample_of,
    space_with,
    width,
)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("target", [0.0, 0.02, 0.1, 0.4, 0.8, 0.97, 1.0])
def test_intervals_of_an_edit_cover(target: float, counts: tuple[int, int]) -> None:
    covered = []
    for seed in range(500):
        rng = np.random.default_rng([seed, *counts])
        space = space_with(target, rng)
        estimate = estimated(space, counts, rng)
        if estimate.value is not None:
            covered.append(covers(estimate, space.exact))
    assert len(covered) > 450
    assert np.mean(covered) >= NOMINAL_AT_LEAST


def without_prior_term(space: Space, counts: tuple[int, int], rng: np.random.Generator) -> Estimate:
    """Wilson's interval at the effective sample size of Kish."""
    s = sample_of(space, counts, rng)
    inside = s.weights * s.known
    value = float(inside @ s.hit / inside.sum())
    low, high = wilson(value, effective(inside))
    return Estimate(value=value, low=low, high=high, n=int(s.known.sum()), ess=effective(inside))


def test_the_coverage_check_fails_an_interval_of_kish() -> None:
    """Failures where the sampler does not go weigh more than the mean question."""

    def coverage(interval: Callable[..., Estimate]) -> float:
        covered = []
        for seed in range(500):
            rng = np.random.default_rng([seed, 3])
            log_p_ref = log_softmax(rng.normal(0, 1, N_ITEMS))
            hit = rng.random(N_ITEMS) < 0.3
            log_p_f = log_softmax(log_p_ref - 4 * hit)
            space = Space(log_p_ref, log_p_f, np.ones(N_ITEMS, dtype=bool), hit)
            covered.append(covers(interval(space, (8, 64), rng), space.exact))
        return float(np.mean(covered))

    assert coverage(without_prior_term) < NOMINAL_AT_LEAST
    assert coverage(estimated) >= NOMINAL_AT_LEAST


def head_and_tail(rng: np.random.Generator) -> Space:
    """Four likely known questions, two of them hits, and a tail of known ones, all hits.

    The sampler seeks the four and hardly ever gives the tail, which has a fifth of their mass.
    """
    p = np.concatenate([np.full(4, 0.025), 0.02 * rng.dirichlet(np.ones(150))])
    log_p_ref = np.log(np.concatenate([p, 0.88 * rng.dirichlet(np.ones(150))]))
    item = np.arange(len(log_p_ref))
    log_p_f = log_softmax(log_p_ref + np.where(item < 4, 3.0, np.where(item < 154, -3.0, 0.0)))
    return Space(log_p_ref, log_p_f, item < 154, (item < 2) | (item >= 4))


def test_a_tail_that_was_not_drawn_is_reckoned_with() -> None:
    """All that was drawn is likely and known well, so its own weights say nothing of the tail."""

    def of_drawn_alone(space: Space, counts: tuple[int, int], rng: np.random.Generator) -> Estimate:
        s = sample_of(space, counts, rng)
        return rate(s.weights, s.known, s.hit, s.log_p_ref)

    def coverage(interval: Callable[..., Estimate]) -> float:
        covered = []
        for seed in range(200):
            rng = np.random.default_rng(seed)
            space = head_and_tail(rng)
            found = interval(space, (16, 16), rng)
            covered.append(found.value is None or covers(found, space.exact))
        return float(np.mean(covered))

    assert coverage(estimated) >= 0.95
    assert coverage(of_drawn_alone) < 0.6


def test_intervals_are_no_wider_than_those_of_the_reference() -> None:
    """n draws of the reference alone would have Wilson's interval at n · known share."""
    ours, plain = [], []
    for seed in range(300):
        rng = np.random.default_rng([seed, 4])
        space = space_with(0.4, rng)
        estimate = estimated(space, (16, 16), rng)
        n = 16 * float(np.exp(space.log_p_ref) @ space.known)
        low, high = wilson(space.exact, n)
        ours.append(width(estimate))
        plain.append(high - low)
    assert np.mean(ours) <= np.mean(plain)


def test_equal_weights_give_the_interval_of_a_proportion() -> None:
    hit = np.arange(20) < 7
    expected = proportion(7, 20)
    found = rate(np.ones(20), np.ones(20, dtype=bool), hit)
    assert found.value == expected.value
    assert found.n == 20
    assert found.ess == pytest.approx(20)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_small_probabilities_count_as_with_replacement() -> None:
    weights = np.array([0.2, 0.1, 0.3, 0.2])
    counted, hit = np.ones(4, dtype=bool), np.array([True, False, False, True])
    rare = rate(weights, counted, hit, np.full(4, -40.0))
    plain = rate(weights, counted, hit)
    assert rare.ess == pytest.approx(plain.ess, rel=1e-9)


def test_effective_number_is_at_least_one_over_largest_weight() -> None:
    """V <= m R (1 - R) for weights u <= m with Σ u = 1."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        weights = rng.exponential(size=12)
        found = rate(weights, np.ones(12, dtype=bool), rng.random(12) < 0.3)
        assert 12 + 1e-9 >= found.ess >= weights.sum() / weights.max() - 1e-9


def test_a_large_sure_question_costs_no_effective_number() -> None:
    """Half of the mass is surely drawn: it says nothing about how well the rest is known.

    With c = R / (0.05 (1 - R)) of the bound R: 0.5 c + 10 log(1 + 0.05 c) = -log 0.05.
    """
    sure, rest = np.array([0.5]), np.full(10, 0.05)
    hit = np.zeros(11, dtype=bool)
    found = rate(
        np.concatenate([sure, rest]),
        np.ones(11, dtype=bool),
        hit,
        np.log(np.concatenate([sure, rest * 1e-9])),
    )
    assert found.ess > 19.9
    assert found.high is not None
    c = found.high / (1 - found.high) / 0.05
    assert 0.5 * c + 10 * math.log1p(0.05 * c) == pytest.approx(-math.log(0.05))


def test_questions_that_are_all_known_leave_no_error() -> None:
    p = np.array([0.5, 0.3, 0.2])
    found = rate(p, np.array([True, True, True]), np.array([True, False, False]), np.log(p))
    assert found.value == pytest.approx(0.5)
    assert width(found) < 0.005
    assert math.isfinite(found.ess)


def test_variance_is_that_of_repeated_draws() -> None:
    """R (1 - R) / n_eff is on average what the estimates of many draws of one space vary by."""
    rng = np.random.default_rng(5)
    space = space_with(0.4, rng)
    found = [estimated(space, (24, 24), rng) for _ in range(600)]
    values = np.array([e.value for e in found])
    implied = np.mean([e.value * (1 - e.value) / e.ess for e in found])  # type: ignore[operator]
    # Two pseudo-hits and misses add some.
    assert 0.9 < implied / values.var() < 1.5


def test_a_perfect_edit_has_an_upper_bound_of_three_over_n() -> None:
    for n in (8, 32, 128, 512):
        found = rate(np.full(n, 1 / n), np.ones(n, dtype=bool), np.zeros(n, dtype=bool))
        assert (found.value, found.low) == (0.0, 0.0)
        assert found.high == pytest.approx(1 - 0.05 ** (1 / n))
        assert found.high == pytest.approx(3 / n, rel=1.6 / n + 0.002)


def test_nothing_counted_is_no_estimate() -> None:
    none, some = np.zeros(3, dtype=bool), np.ones(3, dtype=bool)
    for weights, counted in ((np.ones(3), none), (np.zeros(3), some), (np.ones(0), none[:0])):
        found = rate(weights, counted, counted)
        assert found.value is None
        assert found.note


def test_weightless_questions_change_nothing() -> None:
    hit = np.array([True, False, False, True])
    known = np.ones(4, dtype=bool)
    first = rate(np.array([0.2, 0.3, 0.4]), known[:3], hit[:3], np.full(3, -5.0))
    assert rate(np.array([0.2, 0.3, 0.4, 0.0]), known, hit, np.full(4, -5.0)) == first


@pytest.mark.parametrize("n", [4, 10, 30, 100])
def test_intervals_of_binomial_shares_cover(n: int) -> None:
    """Exact: the probability of each count, summed where its interval covers."""
    for p in np.concatenate([np.geomspace(1e-4, 0.5, 40), 1 - np.geomspace(1e-4, 0.5, 40)]):
        counts = np.arange(n + 1)
        covered = [low <= p <= high for low, high in (wilson(k / n, n) for k in counts)]
        assert stats.binom.pmf(counts, n, p) @ covered >= NOMINAL_AT_LEAST


def test_wilson_is_symmetric_and_grows_tighter() -> None:
    for n in (3.7, 20.0, 200.0):
        for share in (0.0, 0.01, 0.3, 0.5):
            low, high = wilson(share, n)
            assert wilson(1 - share, n) == pytest.approx((1 - high, 1 - low))
            assert 0 <= low <= share <= high <= 1
    widths = [high - low for low, high in (wilson(0.2, n) for n in (5, 10, 50, 500))]
    assert all(a > b for a, b in pairwise(widths))


def test_effective_number_of_kish() -> None:
    assert effective(np.array([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective(np.zeros(3)) == 0.0


def test_matrix_holds_weighted_shares() -> None:
    found = pre_post_matrix(
        np.array([1.0, 2.0, 1.0, 0.0]),
        ["OLD", "OLD", "DEGENERATE", "NEW"],
        ["NEW", "OLD", "NEW", "NEW"],
    )
    expected = np.zeros((5, 5))
    expected[1, 0], expected[1, 1], expected[4, 0] = 0.25, 0.5, 0.25
    assert np.array(found) == pytest.approx(expected)


def test_matrix_adds_up_repeated_cells_and_refuses_others() -> None:
    assert np.array(pre_post_matrix(np.ones(4), ["OLD"] * 4, ["OLD"] * 4))[1, 1] == 1.0
    assert np.array(pre_post_matrix(np.zeros(0), [], [])).sum() == 0.0
    with pytest.raises(ValueError, match="not in tuple"):
        pre_post_matrix(np.ones(1), ["UNSURE"], ["OLD"])
