"""Failing questions that were not drawn: estimated, and covered by the interval."""

import math

import numpy as np
import pytest

from contraflow.auditing.statistics.estimates import unseen_mass
from support.spaces import COUNTS, N_ITEMS, NOMINAL_AT_LEAST, covers, sample_of, space_with


@pytest.mark.parametrize("counts", COUNTS)
def test_unseen_failures_are_estimated_and_covered(counts: tuple[int, int]) -> None:
    covered, errors = [], []
    for seed in range(600):
        rng = np.random.default_rng([seed, *counts])
        space = space_with(rng.choice([0.05, 0.2, 0.5, 0.9]), rng)
        failing = space.known & space.hit
        s = sample_of(space, counts, rng)
        p = np.exp(space.log_p_ref)
        left = np.ones(N_ITEMS, dtype=bool)
        left[s.items] = False
        inclusion = np.exp(s.log_p_ref) / s.weights
        # Σ w (1 - pi) minus the failing mass that was not drawn has mean 0.
        errors.append(
            (s.weights * (1 - inclusion))[failing[s.items]].sum() - p[failing & left].sum()
        )
        found = unseen_mass(s.weights, s.log_p_ref, failing[s.items])
        if found.value is not None:
            covered.append(covers(found, p[failing & left].sum() / p[failing].sum()))
    assert np.mean(covered) >= NOMINAL_AT_LEAST
    assert abs(np.mean(errors)) <= 3 * np.std(errors) / math.sqrt(len(errors))


def test_unseen_share_of_rare_questions_is_one() -> None:
    """Good-Turing: n singletons of hardly any probability say nothing was exhausted."""
    found = unseen_mass(np.full(9, 1 / 9), np.full(9, -40.0), np.arange(9) < 4)
    assert found.value == pytest.approx(1.0)
    assert found.n == 4


def test_unseen_share_of_an_exhausted_space_is_zero() -> None:
    p = np.array([0.5, 0.3, 0.2])
    found = unseen_mass(p, np.log(p), np.array([True, False, True]))
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.high == pytest.approx(0.0, abs=1e-9)


def test_no_failing_draw_leaves_unseen_failures_open() -> None:
    assert unseen_mass(np.ones(3), np.full(3, -2.0), np.zeros(3, dtype=bool)).value is None
