"""Diagnostics at values worked out by hand, and their values for an exact sampler."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from contraflow.gflownet.diagnostics import (
    correlation,
    effective_share,
    health,
    log_z_gap,
    prefix_entropy,
    rank_correlation,
    slope,
    subset_distance,
)

LOG2 = math.log(2.0)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def health_of(log_reward: list[float], log_pf: list[float], group: list[int], ids: list[list[int]]):
    return health(np.array(log_reward), np.array(log_pf), np.array(group), ids, rng())


def test_bounds_of_log_z_by_hand():
    """One fact, two draws with w = R / P_F = 1 and 3.

    ELBO: (log 1 + log 3) / 2. Monte Carlo: log((1 + 3) / 2) = log 2. EUBO: weights ¼ and ¾, so ¾
    log 3. ESS: (1 + 3)² / (2 (1 + 9)) = 16 / 20.
    """
    found = health_of([0.0, math.log(3.0)], [0.0, 0.0], [0, 0], [[5], [6]])
    assert found.elbo == pytest.approx(math.log(3) / 2)
    assert found.log_z_mc == pytest.approx(LOG2)
    assert found.eubo == pytest.approx(0.75 * math.log(3))
    assert found.elbo < found.log_z_mc < found.eubo
    assert found.ess == pytest.approx(0.8)


def test_the_gap_of_log_z_is_taken_fact_by_fact():
    """Fact 0: w = 1 and 3, log Ẑ = log 2, flow head 0. Fact 1: log w = 5, flow head 5.5.

    Errors that cancel in the mean of the facts (log 2 and −½) do not cancel here.
    """
    log_w = np.array([0.0, 5.0, math.log(3.0)])
    log_z = np.array([0.0, 5.5, 0.0])
    assert log_z_gap(log_w, log_z, np.array([0, 1, 0])) == pytest.approx((LOG2 + 0.5) / 2)


def test_facts_count_the_same_whatever_their_number_of_questions():
    """Fact 0: three questions, log w = 1. Fact 1: one question, log w = 5. Mean of the facts: 3,
    not 2.
    """
    found = health_of([1.0, 1.0, 1.0, 5.0], [0.0] * 4, [0, 0, 0, 1], [[1], [2], [3], [4]])
    assert found.elbo == pytest.approx(3.0)


def test_an_exact_sampler_is_healthy_in_every_number():
    """log P_F = log R − log Z(f), another Z for each fact."""
    log_r = [-1.0, -2.0, -4.0, -0.5, -3.0, -1.5]
    log_z = [0.7, 0.7, 0.7, -2.0, -2.0, -2.0]
    found = health_of(
        log_r,
        [r - z for r, z in zip(log_r, log_z, strict=True)],
        [0, 0, 0, 1, 1, 1],
        [[1], [2], [3], [1], [2], [3]],
    )
    bounds = [found.elbo, found.log_z_mc, found.eubo]
    assert bounds == pytest.approx([(0.7 - 2.0) / 2] * 3, abs=1e-5)
    assert found.ess == pytest.approx(1) and found.slope == pytest.approx(1)
    assert found.rank_correlation == pytest.approx(1) and found.fcs == pytest.approx(0, abs=1e-6)


def test_slope_is_taken_within_facts():
    """Within each fact y = 2 x; across facts the levels run the other way and must not matter."""
    x = np.array([0.0, 1.0, 10.0, 11.0])
    y = np.array([0.0, 2.0, -50.0, -48.0])
    assert slope(x, y, np.array([0, 0, 1, 1])) == pytest.approx(2.0)
    assert slope(x, y, np.array([0, 0, 0, 0])) < 0
    assert math.isnan(slope(np.ones(4), y, np.array([0, 0, 1, 1])))


def test_rank_correlation_by_hand():
    """Ranks 1 2 3 4 against 1 2 4 3: 1 − 6 (0 + 0 + 1 + 1) / (4 · 15) = 0.8.

    Ties share their mean rank.
    """
    assert rank_correlation(np.array([1.0, 2.0, 30.0, 400.0]), np.array([0.0, 1.0, 3.0, 2.0])) == (
        pytest.approx(0.8)
    )
    tied = rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    assert tied == pytest.approx(correlation(np.array([1.5, 1.5, 3.0]), np.array([1.0, 2.0, 3.0])))
    assert math.isnan(rank_correlation(np.ones(3), np.arange(3.0)))


def test_subset_distance_by_hand():
    """Two questions, so the only subset is both: P ¾ ¼ against R ¼ ¾ is a total variation of ½."""
    p = np.log([0.75, 0.25]) - 9.0  # not normalized: only the proportion counts
    assert subset_distance(np.log([0.25, 0.75]) + 3.0, p, rng()) == pytest.approx(0.5)
    assert math.isnan(subset_distance(np.zeros(1), np.zeros(1), rng()))


def test_prefix_entropy_sees_a_collapse():
    """Two of four questions begin with 1 2 3: ½ log 2 + 2 · ¼ log 4 = 1.5 log 2.

    A short question is its own prefix.
    """
    ids = [(1, 2, 3, 9), (1, 2, 3, 8), (1, 2), (1, 4, 3, 9)]
    assert prefix_entropy(ids) == pytest.approx(1.5 * LOG2)
    assert prefix_entropy(ids[:1] * 4) == 0.0


def test_effective_share_of_one_dominant_draw_is_one_over_n():
    assert effective_share(np.array([0.0, -200.0, -200.0, -200.0])) == pytest.approx(0.25)
    assert effective_share(np.full(5, -80.0)) == pytest.approx(1.0)


def test_repeats_do_not_count_in_comparisons_of_questions():
    """A question sampled five times is one point of the rank correlation and of the subsets."""
    once = health_of([-1.0, -2.0, -3.0], [-1.0, -3.0, -2.0], [0] * 3, [[1], [2], [3]])
    often = health_of(
        [-1.0] * 5 + [-2.0, -3.0], [-1.0] * 5 + [-3.0, -2.0], [0] * 7, [[1]] * 5 + [[2], [3]]
    )
    assert often.rank_correlation == pytest.approx(once.rank_correlation) == pytest.approx(0.5)
    assert often.fcs == pytest.approx(once.fcs)


def test_length_that_pays_is_seen():
    found = health_of([-3.0, -2.0, -1.0], [0.0] * 3, [0] * 3, [[1], [1, 2], [1, 2, 3]])
    assert found.length_reward_correlation == pytest.approx(1.0)


def test_a_fact_with_one_question_has_no_spread():
    found = health_of([-3.0], [-1.0], [0], [[1, 2]])
    assert found.elbo == pytest.approx(-2.0)
    assert all(math.isnan(v) for v in (found.slope, found.rank_correlation, found.fcs))
