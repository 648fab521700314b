"""Means and differences over edits: derived values, and coverage of exact means."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from jaxtyping import Float
from scipy import optimize, stats

from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.statistics.estimates import proportion
from contraflow.auditing.statistics.over_edits import (
    bootstrap_mean,
    difference_over_edits,
    gap_over_edits,
    mean_of_shares,
    mean_over_edits,
)
from contraflow.auditing.statistics.profile import mean_interval
from support.draws import log_softmax
from support.spaces import NOMINAL_AT_LEAST, Space, covers, estimated, space_with, width

KINDS: dict[str, Callable[[np.random.Generator, int], Float[np.ndarray, " f"]]] = {
    "all levels": lambda rng, f: rng.beta(2, 2, f),
    "mostly good": lambda rng, f: rng.beta(0.5, 4, f),
    "two kinds": lambda rng, f: np.where(rng.random(f) < 0.5, 0.05, 0.9),
    "near 0": lambda rng, f: rng.beta(1, 60, f),
    "at 0": lambda _, f: np.zeros(f),
    "near 1": lambda rng, f: rng.beta(20, 1, f),
    "equal": lambda _, f: np.full(f, 0.3),
}


BANK = 400


@dataclass(frozen=True)
class Audited:
    """The exact rate of an edit, and what an audit says."""

    exact: float
    estimate: Estimate


@cache
def bank(kind: str) -> tuple[Audited, ...]:
    """Audits of edits of one kind, from which the edits of many audits are taken.

    Each of them is a draw of its own, so sets of them err independently; together they err as all.
    """
    rng = np.random.default_rng(list(map(ord, kind)))
    spaces = [space_with(target, rng) for target in KINDS[kind](rng, BANK)]
    found = [Audited(space.exact, estimated(space, (10, 10), rng)) for space in spaces]
    return tuple(audited for audited in found if audited.estimate.value is not None)


def coverage_over_edits(kind: str, n_edits: int, n_repeats: int) -> tuple[float, float]:
    """Share of intervals that hold the mean of the edits' exact rates, and their mean width."""
    rng = np.random.default_rng([n_edits, *map(ord, kind)])
    covered, widths = [], []
    for _ in range(n_repeats):
        edits = [bank(kind)[i] for i in rng.choice(len(bank(kind)), n_edits, replace=False)]
        mean = mean_over_edits([edit.estimate for edit in edits])
        covered.append(covers(mean, float(np.mean([edit.exact for edit in edits]))))
        widths.append(width(mean))
    return float(np.mean(covered)), float(np.mean(widths))


@pytest.mark.parametrize("n_edits", [1, 2, 3])
@pytest.mark.parametrize("kind", list(KINDS))
def test_intervals_over_few_edits_cover(kind: str, n_edits: int) -> None:
    covered, mean_width = coverage_over_edits(kind, n_edits, 150)
    assert covered >= NOMINAL_AT_LEAST
    assert mean_width < (0.65, 0.5, 0.42)[n_edits - 1]


@pytest.mark.parametrize("n_edits", [4, 12, 50])
@pytest.mark.parametrize("kind", list(KINDS))
def test_intervals_over_many_edits_cover(kind: str, n_edits: int) -> None:
    covered, mean_width = coverage_over_edits(kind, n_edits, 100)
    assert covered >= 0.95
    assert mean_width < {4: 0.95, 12: 0.55, 50: 0.26}[n_edits]


def test_the_coverage_check_fails_half_the_errors() -> None:
    """Four times the effective questions, which nobody asked."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        edits = [bank("all levels")[i] for i in rng.choice(BANK - 50, 3, replace=False)]
        known = [edit.estimate for edit in edits]
        values = np.array([e.value for e in known], dtype=np.float64)
        low, high = mean_interval(values, 4 * np.array([e.ess for e in known]))
        covered.append(low <= np.mean([edit.exact for edit in edits]) <= high)
    assert np.mean(covered) < NOMINAL_AT_LEAST


def sought(target: float, seeks: float, rng: np.random.Generator) -> Space:
    """Few known questions, of which the sampler prefers those that fail, by so many nats."""
    log_p_ref = log_softmax(rng.normal(0, 1.5, 300))
    known = rng.random(300) < 0.25
    hit = rng.random(300) < target
    return Space(log_p_ref, log_softmax(log_p_ref + 2 * known + seeks * (hit & known)), known, hit)


@pytest.mark.parametrize("seeks", [-2.0, 3.0])
@pytest.mark.parametrize("target", [0.0, 0.03, 0.5, 0.9, 1.0])
def test_a_sampler_that_seeks_or_avoids_failures_is_covered(target: float, seeks: float) -> None:
    covered = []
    for seed in range(40):
        rng = np.random.default_rng([seed, round(100 * target), round(10 + seeks)])
        spaces = [sought(target, seeks, rng) for _ in range(12)]
        found = [(space.exact, estimated(space, (16, 16), rng)) for space in spaces]
        known = [(exact, e) for exact, e in found if e.value is not None]
        mean = mean_over_edits([e for _, e in known])
        covered.append(covers(mean, float(np.mean([exact for exact, _ in known]))))
    assert np.mean(covered) >= NOMINAL_AT_LEAST


def test_edits_that_all_fail_are_bounded_together() -> None:
    """An edit of which hardly anything is known moves the bound by its own share only.

    Sizes as of a real audit; 1 - M = n / t where n < t, with Σ n log(t / n) = 3.0.
    """
    sizes = [3.4, 1.2, 2.8, 11.0, 1.3, 4.8, 1.4, 9.0, 0.16]
    known = [Estimate(value=1.0, low=0.05 ** (1 / n), high=1.0, n=9, ess=n) for n in sizes]
    found = mean_over_edits(known)
    assert found.low is not None
    t = optimize.brentq(lambda t: sum(n * max(0.0, np.log(t / n)) for n in sizes) - 2.9957, 0.2, 50)
    assert found.low == pytest.approx(np.mean([min(1.0, n / t) for n in sizes]), abs=1e-3)
    assert found.low > 0.65


@pytest.mark.parametrize("n_edits", [6, 12, 50])
def test_intervals_cover_the_mean_of_edits_like_them(n_edits: int) -> None:
    """Edits that are drawn, with replacement, from all those of the bank."""
    edits = bank("all levels")
    exact = float(np.mean([edit.exact for edit in edits]))
    rng = np.random.default_rng(n_edits)
    covered = []
    for _ in range(200):
        found = [edits[i].estimate for i in rng.integers(len(edits), size=n_edits)]
        covered.append(covers(mean_over_edits(found), exact))
    assert np.mean(covered) >= NOMINAL_AT_LEAST


def estimates_of(values: list[float], n: int) -> list[Estimate]:
    return [proportion(round(value * n), n) for value in values]


def test_perfect_edits_share_a_bound_of_three_over_n() -> None:
    for f, n in ((2, 30), (12, 16), (50, 8)):
        found = mean_over_edits(estimates_of([0.0] * f, n))
        assert (found.value, found.low) == (0.0, 0.0)
        assert found.high == pytest.approx(1 - 0.05 ** (1 / (f * n)))
        assert found.high == pytest.approx(3 / (f * n), rel=0.03)


def test_one_failure_in_many_edits_keeps_a_tight_interval() -> None:
    values = [0.0] * 49 + [1 / 16]
    found = mean_over_edits(estimates_of(values, 16))
    assert found.value == pytest.approx(1 / 800)
    assert found.high is not None
    assert 3 / 800 < found.high < 8 / 800


def test_one_edit_keeps_its_own_interval() -> None:
    single = proportion(3, 12)
    found = mean_over_edits([single])
    assert (found.value, found.low, found.high) == (single.value, single.low, single.high)
    assert found.ess == pytest.approx(12)


def test_effective_number_is_the_sum_of_equal_ones() -> None:
    assert mean_over_edits(estimates_of([0.2, 0.4], 10)).ess == pytest.approx(20)
    # Weights 1 / (2 n): (1 / 2 + 1 / 2)² / (10 / 400 + 40 / 6400) = 32.
    assert mean_over_edits([proportion(2, 10), proportion(4, 40)]).ess == pytest.approx(32)


def test_edits_without_an_estimate_are_left_out() -> None:
    known = estimates_of([0.2, 0.5], 10)
    assert mean_over_edits([*known, Estimate.missing("nothing")]) == mean_over_edits(known)
    nothing = mean_over_edits([Estimate.missing("a"), Estimate.missing("b")])
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


def test_shares_have_students_interval() -> None:
    assert mean_of_shares([], 0).value is None
    found = mean_of_shares([0.4, 0.5, 0.6], 9)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # t of 2 degrees of freedom, s = 0.1
    assert (found.low, found.value, found.high) == pytest.approx((0.5 - half, 0.5, 0.5 + half))
    wide = mean_of_shares([0.9, 1.0, 1.0], 3)
    assert wide.high == 1.0


def test_equal_shares_leave_room_for_another_one() -> None:
    """With probability 0.05 no other one is among f: it has 1 - 0.05^(1/f) of edits like them."""
    for f in (1, 12):
        found = mean_of_shares([1.0] * f, f)
        assert (found.low, found.high) == (pytest.approx(0.05 ** (1 / f)), 1.0)
    found = mean_of_shares([0.25] * 5, 5)
    other = 1 - 0.05**0.2
    assert (found.low, found.high) == pytest.approx((0.25 - 0.25 * other, 0.25 + 0.75 * other))


def alone(counts: Sequence[int], n: int) -> list[Estimate]:
    return [proportion(count, n) for count in counts]


@pytest.mark.parametrize("n_edits", [1, 3, 12])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_intervals_of_differences_cover(n_edits: int, shift: float) -> None:
    """Of 12 questions an edit, some are answered by either model alone."""
    covered = []
    for seed in range(100):
        rng = np.random.default_rng([seed, n_edits])
        first = rng.beta(1, 3, n_edits) * (1 - shift) + shift
        second = rng.beta(1, 3, n_edits) * (1 - first)
        rest = 1 - first - second
        counts = np.array([rng.multinomial(12, p) for p in np.stack([first, second, rest], axis=1)])
        found = difference_over_edits(alone(counts[:, 0], 12), alone(counts[:, 1], 12), rng)
        covered.append(covers(found, float((first - second).mean())))
    assert np.mean(covered) >= NOMINAL_AT_LEAST


def test_models_that_agree_differ_little() -> None:
    """12 edits of 16 questions without one that only one model fails: ± (1 - 0.05^(1/192))."""
    none = alone([0] * 12, 16)
    found = difference_over_edits(none, none, np.random.default_rng(0))
    bound = 1 - 0.05 ** (1 / 192)
    assert (found.low, found.value, found.high) == pytest.approx((-bound, 0.0, bound))


def test_a_difference_of_one_edit_has_an_interval() -> None:
    first, second = proportion(6, 20), proportion(1, 20)
    found = difference_over_edits([first], [second], np.random.default_rng(0))
    assert found.value == pytest.approx(0.25)
    assert found.low == pytest.approx(first.low - second.high)  # type: ignore[operator]
    assert found.high == pytest.approx(first.high - second.low)  # type: ignore[operator]


def test_differences_are_of_the_same_edits() -> None:
    rng = np.random.default_rng(0)
    assert difference_over_edits([], [], rng).value is None
    missing = Estimate.missing("nothing known")
    one = difference_over_edits([missing, proportion(1, 4)], [missing, proportion(2, 4)], rng)
    assert (one.value, one.n) == (-0.25, 1)
    with pytest.raises(ValueError, match="same edits"):
        difference_over_edits([proportion(1, 4)], [], rng)


def test_a_gap_of_equal_edits_has_the_interval_of_their_failures() -> None:
    """Every edit passes its prompt, and no question fails: 0 up to the bound of the failures."""
    rng = np.random.default_rng(0)
    none = alone([0] * 12, 16)
    found = gap_over_edits([1.0] * 12, none, rng)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == mean_over_edits(none).high
    every = gap_over_edits([0.5], [proportion(4, 4)], rng)
    assert (every.low, every.value, every.high) == pytest.approx((0.05**0.25 - 0.5, 0.5, 0.5))
    assert gap_over_edits([1.0], [Estimate.missing("nothing known")], rng).value is None


def test_a_gap_moves_with_the_failure_where_all_prompts_pass() -> None:
    failure = alone([0, 3, 8, 12, 16], 16)
    found = gap_over_edits([1.0] * 5, failure, np.random.default_rng(0))
    rate = mean_over_edits(failure)
    assert (found.value, found.low, found.high) == pytest.approx((rate.value, rate.low, rate.high))


def test_a_gap_holds_the_bootstrap_of_its_edits() -> None:
    """Success and failure rise together: the gap varies more than either of them."""
    asked = [0.0, 0.2, 0.8, 1.0] * 6
    failure = alone([int(1000 * a) for a in asked], 1000)
    found = gap_over_edits(asked, failure, np.random.default_rng(0))
    low, high = bootstrap_mean(2 * np.array(asked) - 1, np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx((low, high))
