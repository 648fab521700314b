"""The interval of an edit whose every counted question fails."""

from __future__ import annotations

import numpy as np
import pytest

from contraflow.auditing.estimates import rate


def test_a_success_that_was_not_drawn_may_weigh_more_than_any_failure() -> None:
    """The sampler seeks failures, so what it left out can hold more mass than what it drew."""
    weights = np.full(8, 0.05)
    everything = np.ones(8, dtype=bool)
    narrow = rate(weights, everything, everything)
    wide = rate(weights, everything, everything, largest_unseen=0.2)
    assert narrow.value == wide.value == 1.0
    assert wide.low is not None and narrow.low is not None
    assert wide.low < narrow.low
    # At least 1 / m equal draws, m = 0.2 / 0.4 the largest share of a question that may be missing.
    assert 2 <= wide.ess < narrow.ess
    assert wide.low == pytest.approx(0.05 ** (1 / wide.ess))


def test_questions_that_succeed_need_no_such_bound() -> None:
    weights = np.full(8, 0.05)
    some = np.arange(8) < 5
    everything = np.ones(8, dtype=bool)
    assert rate(weights, everything, some) == rate(weights, everything, some, largest_unseen=0.2)
