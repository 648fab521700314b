"""What sources found: exact rarefaction and bands over edits."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from contraflow.auditing.statistics.bands import (
    Found,
    band,
    drawn_again,
    failing_after,
    modes_after,
    per_100,
)
from contraflow.auditing.statistics.estimates import proportion
from support.spaces import NOMINAL_AT_LEAST, covers


def of_labels(labels: Sequence[int], n_asked: int) -> Found:
    return Found(n_asked, tuple(Counter(labels).values()))


def once(found: Sequence[Found]) -> np.ndarray:
    return np.ones((1, len(found)), dtype=np.int64)


def brute_force(labels: Sequence[int], n_asked: int, at: int) -> float:
    """The mean number of different labels over all sets of questions that can be asked first."""
    asked = [*labels, *([None] * (n_asked - len(labels)))]
    counts = [
        len({label for label in first if label is not None}) for first in combinations(asked, at)
    ]
    return float(np.mean(counts))


@pytest.mark.parametrize(
    "labels",
    [[], [0], [0, 0, 0], [0, 1, 2, 3], [0, 0, 0, 1, 1, 2], [5, 5, 2, 2, 9, 9, 9, 9]],
)
def test_modes_found_are_the_mean_over_all_orders(labels: list[int]) -> None:
    for n_asked in range(len(labels), 10):
        at = list(range(n_asked + 1))
        found = [of_labels(labels, n_asked)]
        expected = [brute_force(labels, n_asked, m) for m in at]
        assert modes_after(found, once(found), at)[0] == pytest.approx(expected, abs=1e-9)


def test_modes_of_several_edits_are_different_ones() -> None:
    """Two edits with a mode of two questions each are an edit with two such modes."""
    apart = [of_labels([0, 0], 4), of_labels([0, 0], 3)]
    together = [of_labels([0, 0, 1, 1], 7)]
    at = list(range(8))
    assert modes_after(apart, once(apart), at) == pytest.approx(
        modes_after(together, once(together), at)
    )


def test_many_questions_are_exact_at_the_ends() -> None:
    found = [of_labels([i % 700 for i in range(5000)], 100_000)]
    curve = modes_after(found, once(found), [0, 1, 50_000, 100_000])[0]
    assert curve == pytest.approx([0.0, 0.05, curve[2], 700], abs=1e-4)
    assert 0.05 < curve[2] < 700


def test_an_edit_drawn_twice_counts_twice() -> None:
    found = [of_labels([0], 2), of_labels([], 5), of_labels([0, 1], 3)]
    times = np.array([[2, 0, 1]])
    again = [found[0], found[0], found[2]]
    at = [0, 3, 7, 12]
    for curve in (failing_after, modes_after):
        assert curve(found, times, at) == pytest.approx(curve(again, once(again), at))


def test_a_replicate_ends_with_its_last_question() -> None:
    found = [of_labels([0, 1], 4)]
    assert failing_after(found, once(found), [2, 4, 9])[0] == pytest.approx([1, 2, 2])


def made(rng: np.random.Generator, n_edits: int, n: int = 12) -> list[Found]:
    """Edits whose questions fail together: the share of each is a draw of its own."""
    failing = rng.binomial(n, rng.beta(0.5, 1.5, n_edits))
    return [of_labels(list(rng.integers(3, size=k)), n) for k in failing]


@pytest.mark.parametrize("n_edits", [5, 12, 40])
def test_the_yield_of_edits_like_these_is_covered(n_edits: int) -> None:
    """100 · 0.25 on average; intervals of equal trials would be far too narrow."""
    ours, plain = [], []
    for seed in range(200):
        found = made(np.random.default_rng([seed, n_edits]), n_edits)
        ours.append(covers(per_100(found), 25.0))
        equal = proportion(sum(f.n_failing for f in found), 12 * n_edits)
        plain.append(covers(equal, 0.25))
    assert np.mean(ours) >= NOMINAL_AT_LEAST
    assert np.mean(plain) < 0.8


def test_a_band_holds_its_curve_and_needs_four_edits() -> None:
    rng = np.random.default_rng(1)
    found = made(rng, 12)
    at = list(range(0, 145, 12))
    curves = modes_after(found, drawn_again(12, rng), at)
    bounds = band(curves, at, 12)
    assert all(a <= b <= c for a, b, c in zip(bounds.low, curves[0], bounds.high, strict=True))
    assert bounds.high[-1] > curves[0, -1] > bounds.low[-1]
    assert band(curves, at, 3).low == ()


def test_edits_that_are_alike_have_no_band() -> None:
    found = [of_labels([0, 1], 8)] * 6
    times, at = drawn_again(6, np.random.default_rng(0)), [0, 24, 48]
    for curve in (failing_after, modes_after):
        assert band(curve(found, times, at), at, 6).low == ()
    expected = proportion(12, 48)
    alike = per_100(found)
    assert (alike.low, alike.high) == pytest.approx((100 * expected.low, 100 * expected.high))  # type: ignore[operator]


def test_nothing_asked_is_no_yield() -> None:
    assert per_100([]).value is None
    assert per_100([Found(0, ())]).value is None


def test_a_band_is_within_what_was_asked() -> None:
    """All questions about three of four edits fail, and each such question is a mode of its own.

    Without a bound the upper one of failing questions was 37.2 of 32 and 74.5 of 64.
    """
    found = [of_labels(range(16), 16)] * 3 + [of_labels(range(4), 16)]
    times, at = drawn_again(4, np.random.default_rng(0)), [0, 16, 32, 64]
    for curve in (failing_after, modes_after):
        curves = curve(found, times, at)
        bounds = band(curves, at, 4)
        assert bounds.high == pytest.approx([0, 16, 32, 64])
        assert all(0 <= low <= mid for low, mid in zip(bounds.low, curves[0], strict=True))
