"""The bound of a share when every counted question is a hit: derived values, and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize

from contraflow.auditing.statistics.estimates import rate
from contraflow.auditing.statistics.one_sided import lower_bound
from contraflow.auditing.statistics.weights import union_weights
from support.draws import draw_distinct, log_softmax, strata_of_union


def test_equal_unlikely_questions_have_the_exact_bound() -> None:
    """R^n = 0.05 of Clopper and Pearson."""
    for n in (1, 4, 30):
        found = lower_bound(np.full(n, 0.02), np.zeros(n), 0.02)
        assert found == pytest.approx(0.05 ** (1 / n))


def test_known_mass_needs_no_count() -> None:
    """All hits were surely drawn: M <= 3.0 k, so R >= D / (D + 3.0 k)."""
    p = np.array([0.1, 0.2])
    assert lower_bound(p, np.ones(2), 0.05) == pytest.approx(0.3 / (0.3 - math.log(0.05) * 0.05))


def test_bound_is_where_the_largest_likelihood_is_a_twentieth() -> None:
    """Maximized over the unseen hits by a search instead of by the formula."""
    weights, included, k = np.array([0.2, 0.05, 0.03]), np.array([0.6, 0.1, 0.02]), 0.06
    unlikely = weights * (1 - included)
    seen, unseen = float(weights @ included), float(unlikely.sum())
    each = float(weights @ unlikely) / unseen

    def log_likelihood(u: float, share: float) -> float:
        missing = (seen + u) * (1 - share) / share
        return -missing / k + unseen / each * math.log(u) - u / each

    def best(share: float) -> float:
        found = optimize.minimize_scalar(
            lambda u: -log_likelihood(u, share), bounds=(1e-9, 1.0), method="bounded"
        )
        return -float(found.fun)

    share = lower_bound(weights, included, k)
    assert best(share) - best(1.0) == pytest.approx(math.log(0.05), abs=1e-4)


def test_nothing_can_be_missing_without_weight() -> None:
    assert lower_bound(np.array([0.5]), np.array([1.0]), 0.0) == 1.0


def test_a_success_that_was_not_drawn_may_weigh_more_than_any_failure() -> None:
    """The sampler seeks failures, so what it left out can hold more mass than what it drew.

    Eight failures of 0.05: 8 log(1 + 0.05 c) = 3.0, and R = 1 / (1 + 0.2 c).
    """
    weights, everything = np.full(8, 0.05), np.ones(8, dtype=bool)
    narrow = rate(weights, everything, everything)
    wide = rate(weights, everything, everything, largest_unseen=0.2)
    assert narrow.value == wide.value == 1.0
    assert narrow.low == pytest.approx(0.05 ** (1 / 8))
    assert wide.low == pytest.approx(1 / (1 + 4 * (0.05 ** (-1 / 8) - 1)))
    assert 2 <= wide.ess < narrow.ess


def test_no_failure_has_the_mirrored_bound() -> None:
    weights, everything = np.array([0.05, 0.2, 0.1]), np.ones(3, dtype=bool)
    log_p = np.log([0.01, 0.15, 0.02])
    all_fail = rate(weights, everything, everything, log_p, largest_unseen=0.2)
    none = rate(weights, everything, ~everything, log_p, largest_unseen=0.2)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(1 - all_fail.low)  # type: ignore[operator]


def bounds_of_draws(
    share: float, seeks: float, factor: float, seed: int
) -> tuple[float, float] | None:
    """The exact share and its bound where no miss was drawn, for 16 + 16 draws of 400 questions.

    seeks: by how many nats the sampler prefers hits. factor: of the largest weight of a miss.
    """
    rng = np.random.default_rng([seed, round(100 * share), round(seeks)])
    log_p = log_softmax(rng.normal(0, rng.choice([0.5, 1.5]), 400))
    known = rng.random(400) < 0.8
    hit = rng.random(400) < share
    log_f = log_softmax(log_p + 2 * known + seeks * (hit & known))
    draws = [draw_distinct(log_p, 16, rng), draw_distinct(log_f, 16, rng)]
    items, strata = strata_of_union([log_p, log_f], draws)
    inside = items[known[items]]
    if len(inside) == 0 or not hit[inside].all():
        return None
    weights = union_weights(log_p[items], strata)[known[items]]
    included = np.exp(log_p[inside]) / weights
    mass = np.exp(log_p) * known
    bound = lower_bound(weights, included, factor * math.exp(draws[0].log_smallest))
    return float(mass @ hit / mass.sum()), bound


def share_missed(seeks: float, factor: float = 1.0) -> float:
    """The share of all audits that draw no miss though their exact share is below the bound."""
    found = [bounds_of_draws(0.85, seeks, factor, seed) for seed in range(400)]
    return sum(pair is not None and pair[0] < pair[1] for pair in found) / len(found)


@pytest.mark.parametrize("seeks", [2.0, 5.0])
def test_the_bound_is_missed_by_one_audit_in_twenty_at_most(seeks: float) -> None:
    assert share_missed(seeks) <= 0.05


def test_the_coverage_check_fails_half_the_largest_weight() -> None:
    assert share_missed(5.0, factor=0.5) > 0.05
