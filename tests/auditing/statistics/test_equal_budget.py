"""Comparisons of two sources with equally many questions about each edit."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from contraflow.auditing.statistics.bands import Found
from contraflow.auditing.statistics.equal_budget import failing_difference, modes_difference
from contraflow.auditing.statistics.estimates import proportion
from support.spaces import NOMINAL_AT_LEAST, covers


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def expected(sizes: Sequence[int], n_asked: int, at: int) -> tuple[float, float]:
    """Failing questions and modes among `at` of the questions, over all sets that can be asked."""
    labels: list[int | None] = [mode for mode, size in enumerate(sizes) for _ in range(size)]
    labels += [None] * (n_asked - len(labels))
    failing = [[x for x in chosen if x is not None] for chosen in combinations(labels, at)]
    return float(np.mean([len(f) for f in failing])), float(np.mean([len(set(f)) for f in failing]))


def test_each_edit_is_compared_at_its_own_smaller_number() -> None:
    """Three questions about each of two edits, then two: the sums of what is enumerated there."""
    first = [Found(5, (2, 1)), Found(3, (3,)), Found(6, (1, 1, 1))]
    second = [Found(3, (1,)), Found(7, (2, 2)), Found(2, (1,))]
    of_first, of_second = (
        np.array(
            [expected(f.mode_sizes, f.n_asked, m) for f, m in zip(found, (3, 3, 2), strict=True)]
        )
        for found in (first, second)
    )
    failing, modes = (of_first - of_second).sum(axis=0)
    found = failing_difference(first, second, rng())
    assert found.n == 8
    assert found.value == pytest.approx(failing)
    assert modes_difference(first, second, rng()).value == pytest.approx(modes)


def test_a_source_that_asks_more_of_hard_edits_ties() -> None:
    """All questions about every second edit fail, none about the others, whoever asks.

    Pooled over edits, the first source found 24 fewer of 72, with an interval without 0.
    """
    first = [Found(16, (16,)), Found(16, ())] * 6
    second = [Found(10, (10,)), Found(2, ())] * 6
    found = failing_difference(first, second, rng())
    assert found.n == 72
    assert found.value == pytest.approx(0)
    assert found.low < 0 < found.high  # type: ignore[operator]
    modes = modes_difference(first, second, rng())
    assert modes.value == pytest.approx(0)
    assert (modes.low, modes.high) == (None, None)


def test_two_equal_sources_tie_and_unequal_ones_do_not() -> None:
    """The differences of two samples of one source hold 0 as often as they say."""
    ties = []
    for seed in range(150):
        shares = rng(seed).beta(0.5, 1.5, 12)
        first, second = (
            [Found(12, (1,) * k) for k in rng(seed + 1000 * part).binomial(12, shares)]
            for part in (1, 2)
        )
        ties.append(covers(failing_difference(first, second, rng(seed)), 0.0))
    assert np.mean(ties) >= NOMINAL_AT_LEAST
    much, little = [Found(8, (1, 1, 2))] * 12, [Found(8, (1,))] * 12
    found = failing_difference(much, little, rng())
    assert (found.n, found.value) == (96, pytest.approx(36))
    assert found.low is not None and found.low > 0


def test_unequal_numbers_of_equal_sources_tie_too() -> None:
    """Edits fail with shares of their own; the second source asks more about those that fail."""
    ties = []
    for seed in range(150):
        drawn = rng(seed)
        shares = drawn.beta(0.5, 1.5, 12)
        asked = 2 + np.round(10 * shares).astype(int)
        first = [Found(12, (1,) * k) for k in drawn.binomial(12, shares)]
        failing = drawn.binomial(asked, shares)
        second = [Found(int(n), (1,) * k) for n, k in zip(asked, failing, strict=True)]
        ties.append(covers(failing_difference(first, second, drawn), 0.0))
    assert np.mean(ties) >= NOMINAL_AT_LEAST


def test_edits_that_are_alike_have_no_interval_of_modes() -> None:
    """Three modes against one in each of 12 edits: 24 more, but nothing says how edits vary."""
    much, little = [Found(8, (1, 1, 2))] * 12, [Found(8, (1,))] * 12
    modes = modes_difference(much, little, rng())
    assert modes.value == pytest.approx(24)
    assert (modes.low, modes.high) == (None, None)
    assert modes.note == "all edits are alike: no interval"


def test_a_difference_is_within_what_was_asked() -> None:
    """50 of 64 more: the widened bootstrap of four edits reached 76."""
    first = [Found(16, (1,) * 16)] * 3 + [Found(16, (1,) * 2)]
    second = [Found(16, ())] * 4
    for difference in (failing_difference, modes_difference):
        found = difference(first, second, rng())
        assert found.value == pytest.approx(50)
        assert found.high == 64
        opposite = difference(second, first, rng())
        assert (opposite.value, opposite.low) == (pytest.approx(-50), -64)


def test_few_edits_have_an_interval_of_their_questions_alone() -> None:
    """Newcombe's: the lower bound is the difference less the root of both squared distances."""
    first, second = [Found(20, (10,))], [Found(40, (4,))]
    found = failing_difference(first, second, rng())
    a, b = proportion(10, 20), proportion(4, 40)
    below = np.hypot(0.5 - a.low, b.high - 0.1)  # type: ignore[operator]
    assert found.value == pytest.approx(20 * 0.4)
    assert found.low == pytest.approx(20 * (0.4 - below))
    modes = modes_difference(first, second, rng())
    assert (modes.low, modes.high) == (None, None)
    assert "4" in modes.note


def test_a_source_that_asked_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="asked nothing"):
        failing_difference([Found(0, ())], [Found(3, (1,))], rng())
