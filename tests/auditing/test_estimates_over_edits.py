"""Means and differences over edits: derived values, and coverage of exact means."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Float
from scipy import stats

from contraflow.auditing.estimates import (
    bootstrap_mean,
    difference_over_edits,
    mean_over_edits,
    proportion,
    student_mean,
)
from contraflow.auditing.result import Estimate
from support.spaces import NOMINAL_AT_LEAST, covers, estimated, space_with, width

KINDS: dict[str, Callable[[np.random.Generator, int], Float[np.ndarray, " f"]]] = {
    "all levels": lambda rng, f: rng.beta(2, 2, f),
    "mostly good": lambda rng, f: rng.beta(0.5, 4, f),
    "two kinds": lambda rng, f: np.where(rng.random(f) < 0.5, 0.05, 0.9),
    "near 0": lambda rng, f: rng.beta(1, 60, f),
    "at 0": lambda _, f: np.zeros(f),
    "near 1": lambda rng, f: rng.beta(20, 1, f),
    "equal": lambda _, f: np.full(f, 0.3),
}


def coverage_over_edits(kind: str, n_edits: int, n_repeats: int) -> tuple[float, float]:
    """Share of intervals that hold the mean of the edits' exact rates, and their mean width."""
    covered, widths = [], []
    for seed in range(n_repeats):
        rng = np.random.default_rng([seed, n_edits, *map(ord, kind)])
        spaces = [space_with(target, rng) for target in KINDS[kind](rng, n_edits)]
        found = [(space.exact, estimated(space, (10, 10), rng)) for space in spaces]
        known = [(exact, e) for exact, e in found if e.value is not None]
        if not known:
            continue
        mean = mean_over_edits([e for _, e in known], rng)
        covered.append(covers(mean, float(np.mean([exact for exact, _ in known]))))
        widths.append(width(mean))
    return float(np.mean(covered)), float(np.mean(widths))


@pytest.mark.parametrize("n_edits", [1, 2, 3])
@pytest.mark.parametrize("kind", list(KINDS))
def test_intervals_over_few_edits_cover(kind: str, n_edits: int) -> None:
    covered, mean_width = coverage_over_edits(kind, n_edits, 250)
    assert covered >= NOMINAL_AT_LEAST
    assert mean_width < (0.6, 0.45, 0.4)[n_edits - 1]


@pytest.mark.slow
@pytest.mark.parametrize("n_edits", [4, 12, 50])
@pytest.mark.parametrize("kind", list(KINDS))
def test_intervals_over_many_edits_cover(kind: str, n_edits: int) -> None:
    covered, mean_width = coverage_over_edits(kind, n_edits, 300)
    assert covered >= NOMINAL_AT_LEAST
    assert mean_width < {4: 0.95, 12: 0.55, 50: 0.26}[n_edits]


@pytest.mark.slow
@pytest.mark.parametrize("n_edits", [6, 12, 50])
def test_intervals_cover_the_mean_of_edits_like_them(n_edits: int) -> None:
    rng = np.random.default_rng(99)
    exact = float(np.mean([space_with(target, rng).exact for target in rng.beta(2, 2, 20_000)]))
    covered = []
    for seed in range(300):
        rng = np.random.default_rng([seed, n_edits])
        spaces = [space_with(target, rng) for target in rng.beta(2, 2, n_edits)]
        found = [estimated(space, (10, 10), rng) for space in spaces]
        covered.append(covers(mean_over_edits(found, rng), exact))
    assert np.mean(covered) >= NOMINAL_AT_LEAST


def estimates_of(values: list[float], n: int) -> list[Estimate]:
    return [proportion(round(value * n), n) for value in values]


def test_perfect_edits_share_a_bound_of_three_over_n() -> None:
    """Π (1 - M_i)^n_i >= 0.05 allows Σ n_i M_i up to about 3."""
    rng = np.random.default_rng(0)
    for f, n in ((2, 30), (12, 16), (50, 8)):
        found = mean_over_edits(estimates_of([0.0] * f, n), rng)
        assert (found.value, found.low) == (0.0, 0.0)
        assert found.high == pytest.approx(-math.log(0.05) / (f * n))


def test_bound_puts_failures_where_least_was_asked() -> None:
    """Of 3 = -log 0.05, a whole edit of one question takes 1; the rest goes to one of 10."""
    sizes = [1, 10, 100]
    found = mean_over_edits([proportion(0, n) for n in sizes], np.random.default_rng(0))
    assert found.high == pytest.approx((1 + (-math.log(0.05) - 1) / 10) / 3)
    flipped = mean_over_edits([proportion(n, n) for n in sizes], np.random.default_rng(0))
    assert (flipped.low, flipped.high) == pytest.approx((1 - found.high, 1.0))  # type: ignore[operator]


def test_one_failure_in_many_edits_keeps_a_tight_interval() -> None:
    values = [0.0] * 49 + [1 / 16]
    found = mean_over_edits(estimates_of(values, 16), np.random.default_rng(0))
    assert found.value == pytest.approx(1 / 800)
    assert found.high is not None
    assert 3 / 800 < found.high < 8 / 800


def test_one_edit_keeps_its_own_interval() -> None:
    single = proportion(3, 12)
    found = mean_over_edits([single], np.random.default_rng(0))
    assert (found.value, found.low, found.high) == (single.value, single.low, single.high)
    assert found.ess == pytest.approx(12)


def test_edits_of_equal_size_pool_to_their_sum() -> None:
    found = mean_over_edits(estimates_of([0.2, 0.4], 10), np.random.default_rng(0))
    expected = proportion(6, 20)
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_edits_without_an_estimate_are_left_out() -> None:
    rng = np.random.default_rng(0)
    known = estimates_of([0.2, 0.5], 10)
    assert mean_over_edits([*known, Estimate.missing("nothing")], rng) == mean_over_edits(
        known, rng
    )
    nothing = mean_over_edits([Estimate.missing("a"), Estimate.missing("b")], rng)
    assert nothing.value is None
    assert nothing.n == 2


def test_bootstrap_is_widened_to_students_interval() -> None:
    """For many normal values the percentile bootstrap is mean ± z s sqrt((f - 1) / f) / sqrt(f)."""
    values = np.random.default_rng(1).normal(size=30)
    low, high = bootstrap_mean(values, np.random.default_rng(2))
    spread = stats.t.ppf(0.975, 29) * values.std(ddof=1) / math.sqrt(30)
    assert low == pytest.approx(values.mean() - spread, abs=0.05)
    assert high == pytest.approx(values.mean() + spread, abs=0.05)
    with pytest.raises(ValueError, match="two"):
        bootstrap_mean(values[:1], np.random.default_rng(2))


def test_students_mean_has_no_interval_for_one_edit() -> None:
    assert student_mean([], 0).value is None
    assert student_mean([0.4], 3).low is None
    found = student_mean([1.0, 2.0, 3.0], 9)
    half = 4.302652729911275 / math.sqrt(3)  # t of 2 degrees of freedom, s = 1
    assert (found.low, found.value, found.high) == pytest.approx((2 - half, 2.0, 2 + half))


@pytest.mark.parametrize("n_edits", [3, 4, 12, 50])
@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_intervals_of_differences_cover(n_edits: int, shift: float) -> None:
    covered = []
    for seed in range(200):
        rng = np.random.default_rng([seed, n_edits])
        first = rng.beta(2, 2, n_edits)
        second = np.clip(first - shift + rng.normal(0, 0.1, n_edits), 0, 1)
        found = difference_over_edits(
            list(rng.binomial(12, first) / 12), list(rng.binomial(12, second) / 12), rng
        )
        if found.low is not None:
            covered.append(covers(found, float((first - second).mean())))
    assert np.mean(covered) >= NOMINAL_AT_LEAST


def test_paired_differences_are_tighter_than_the_rates() -> None:
    rng = np.random.default_rng(0)
    first = rng.beta(1, 1, 24)
    second = np.clip(first + 0.05, 0, 1)
    paired = difference_over_edits(list(first), list(second), rng)
    low, high = bootstrap_mean(first, rng)
    assert paired.value == pytest.approx((first - second).mean())
    assert width(paired) < 0.2 * (high - low)


def test_differences_without_variation_have_no_interval() -> None:
    rng = np.random.default_rng(0)
    assert difference_over_edits([], [], rng).value is None
    for first, second in (([0.5], [0.2]), ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])):
        found = difference_over_edits(first, second, rng)
        assert found.low is None
        assert found.high is None
        assert "no interval" in found.note
    with pytest.raises(ValueError, match="same edits"):
        difference_over_edits([0.1], [], rng)
