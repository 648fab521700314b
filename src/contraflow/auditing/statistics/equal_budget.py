"""Two sources of questions compared with equally many questions about each edit.

Over all edits at once, a source that asks more about the edits that fail would find more even if it
found just as much about each of them. So both are rarefied within each edit to the smaller of their
numbers there, and what they are expected to find is added up. Intervals are of a bootstrap over
edits, as in `bands.py`, and cut to what is possible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.statistics.bands import (
    Found,
    drawn_again,
    failing_after,
    modes_after,
    vary,
)
from contraflow.auditing.statistics.estimates import wilson
from contraflow.auditing.statistics.over_edits import MIN_EDITS_TO_BOOTSTRAP, widened_percentiles


def failing_difference(
    first: Sequence[Found], second: Sequence[Found], rng: np.random.Generator
) -> Estimate:
    """Failing questions that the first source finds more than the second, of the same edits.

    After as many questions about each edit as the source has that asked fewer about it; `n` of the
    estimate is their sum. The interval holds the one of two binomial shares (Newcombe 1998, method
    10) and, from four edits on, the bootstrap over edits.
    Raises: ValueError where a source asked nothing about an edit.
    """
    shared = _shared(first, second)
    value = _each(failing_after, first, shared) - _each(failing_after, second, shared)
    low, high = _newcombe(_share(first, shared), _share(second, shared))
    at = int(shared.sum())
    return _difference(_drawn_differences(value, shared, rng), at * low, at * high, shared)


def modes_difference(
    first: Sequence[Found], second: Sequence[Found], rng: np.random.Generator
) -> Estimate:
    """Failure modes that the first source finds more than the second, as `failing_difference`.

    There is no interval for fewer than four edits, nor where all edits are alike.
    """
    shared = _shared(first, second)
    value = _each(modes_after, first, shared) - _each(modes_after, second, shared)
    replicates = _drawn_differences(value, shared, rng)
    note = ""
    if len(first) < MIN_EDITS_TO_BOOTSTRAP:
        note = f"fewer than {MIN_EDITS_TO_BOOTSTRAP} edits: no interval"
    elif not vary(replicates):
        note = "all edits are alike: no interval"
    if not note:
        return _difference(replicates, math.inf, -math.inf, shared)
    return Estimate(
        value=float(replicates[0, 0]),
        low=None,
        high=None,
        n=int(shared.sum()),
        ess=float(len(first)),
        note=note,
    )


def _shared(first: Sequence[Found], second: Sequence[Found]) -> Int[np.ndarray, " f"]:
    """How many questions about each edit both sources asked."""
    shared = np.array([min(a.n_asked, b.n_asked) for a, b in zip(first, second, strict=True)])
    if not shared.all():
        raise ValueError("a source asked nothing about one of the edits")
    return shared


def _each(
    curve: Callable[..., Float[np.ndarray, "1 1"]],
    found: Sequence[Found],
    at: Int[np.ndarray, " f"],
) -> Float[np.ndarray, " f"]:
    """What a source finds about each edit, expected among its first `at` questions about it."""
    once = np.ones((1, 1), dtype=np.int64)
    return np.array([curve([f], once, [int(m)])[0, 0] for f, m in zip(found, at, strict=True)])


def _drawn_differences(
    value: Float[np.ndarray, " f"], shared: Int[np.ndarray, " f"], rng: np.random.Generator
) -> Float[np.ndarray, "r 1"]:
    """The sum over the edits of each replicate, for as many questions as were found with."""
    times = drawn_again(len(value), rng)
    sums: Float[np.ndarray, " r"] = shared.sum() * (times @ value) / (times @ shared)
    return sums[:, None]


def _share(found: Sequence[Found], at: Int[np.ndarray, " f"]) -> Estimate:
    """The share of failing questions where each edit weighs as much as it was asked about.

    Wilson's interval at Kish's number of trials: those of an edit weigh `at` / `n_asked` each.
    """
    asked = np.array([f.n_asked for f in found])
    failing = np.array([f.n_failing for f in found])
    n = int(at.sum())
    share = float(np.sum(at * failing / asked)) / n
    size = n**2 / float(np.sum(np.square(at) / asked))
    low, high = wilson(share, size)
    return Estimate(value=share, low=low, high=high, n=n, ess=size)


def _newcombe(first: Estimate, second: Estimate) -> tuple[float, float]:
    values = [first.value, first.low, first.high, second.value, second.low, second.high]
    a, a_low, a_high, b, b_low, b_high = (v if v is not None else math.nan for v in values)
    return (
        a - b - math.hypot(a - a_low, b_high - b),
        a - b + math.hypot(a_high - a, b - b_low),
    )


def _difference(
    replicates: Float[np.ndarray, "r 1"], low: float, high: float, shared: Int[np.ndarray, " f"]
) -> Estimate:
    value, at, n_edits = float(replicates[0, 0]), int(shared.sum()), len(shared)
    if n_edits >= MIN_EDITS_TO_BOOTSTRAP:
        boot_low, boot_high = widened_percentiles(replicates[1:, 0], value, n_edits)
        low, high = min(low, float(boot_low)), max(high, float(boot_high))
    low, high = max(-float(at), low), min(float(at), high)
    return Estimate(value=value, low=low, high=high, n=at, ess=float(n_edits))
