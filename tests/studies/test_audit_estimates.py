"""The comparison of an audit's estimates with a direct sample."""

import numpy as np
import pytest

from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.statistics.estimates import proportion
from studies.audit_agreement import Comparison, agrees, chance_inside, is_inside, table
from studies.audit_estimates import Drawn, joined, mixture_of


def drawn(n: int, log_p: float, log_other: float) -> Drawn:
    return Drawn([f"{log_p} {i}" for i in range(n)], np.full(n, log_p), np.full(n, log_other))


def estimate(value: float, ess: float, half: float = 0.1) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=9, ess=ess)


def test_a_perfect_estimate_is_inside_by_chance() -> None:
    """0.95 without an error of its own, P(|z| <= 1.96 / sqrt(2)) = 0.834 with an equal one."""
    direct = estimate(0.5, 40.0)
    assert chance_inside(estimate(0.5, 1e9), direct) == pytest.approx(0.95, abs=1e-4)
    assert chance_inside(estimate(0.5, 40.0), direct) == pytest.approx(0.8342, abs=1e-3)
    assert chance_inside(estimate(0.5, 4.0), direct) < 0.5


def test_chance_inside_is_that_of_two_normal_errors() -> None:
    rng = np.random.default_rng(0)
    direct = rng.normal(0, 1 / np.sqrt(40), 100_000)
    other = rng.normal(0, 1 / np.sqrt(10), 100_000)
    share = np.mean(np.abs(other - direct) <= 1.959964 / np.sqrt(40))
    found = chance_inside(estimate(0.5, 10.0), estimate(0.5, 40.0))
    assert found == pytest.approx(share, abs=0.01)


def test_a_mixture_takes_the_first_draws_of_both_halves() -> None:
    """alpha = 1/2: w = 1 / (1/2 + 1/2 · P_F / P_Q), here 0.4 and 2 / (1 + e^-2), over n."""
    prior, other = drawn(5, -2.0, -2.0 + np.log(4)), drawn(5, -3.0, -5.0)
    found = mixture_of(prior, other, 4)
    assert found.drawn.texts == [*prior.texts[:2], *other.texts[:2]]
    expected = [0.4, 0.4, *[2 / (1 + np.exp(-2))] * 2]
    assert found.weights == pytest.approx(np.array(expected) / 4)
    assert len(joined([prior, other]).texts) == 10


def test_the_table_counts_agreement() -> None:
    direct = proportion(10, 20)
    near, far, none = estimate(0.55, 10.0), estimate(0.95, 10.0), Estimate.missing("nothing")
    assert is_inside(near, direct) and not is_inside(far, direct)
    assert agrees(near, direct) and agrees(direct, near) and not agrees(far, direct)
    comparisons = [
        Comparison("Hamlet", "m", "edit_failure", direct, {"union 32": e})
        for e in (near, far, none)
    ]
    line = table(comparisons, ["union 32"]).splitlines()[2]
    assert line.startswith("| union 32 | edit_failure | 2 | 1 | ")
    assert "| 1 | +0.250 | 0.20 |" in line
