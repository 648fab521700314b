"""From the rates of edits to means and differences over edits, with intervals.

Each edit has equal weight. An interval holds the one of the edits' own sampling errors
(`profile.py`) and, from four edits on, one of how the edits vary as well: the first covers the mean
of these edits, the second that of edits like them. Differences, which are no shares, have a
bootstrap over edits for the second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.statistics.estimates import wilson
from contraflow.auditing.statistics.profile import mean_interval
from contraflow.evaluation.bootstrap import Z_95, student, widening

N_BOOTSTRAP = 2000
MIN_EDITS_TO_BOOTSTRAP = 4


def mean_over_edits(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of the edits' rates; edits without one are left out.

    The interval of up to three edits is about the mean of these edits. That of more holds the one
    of edits like them too. Where all rates are 0, the upper bound is the largest mean with which
    no failure at all is drawn with 5 %: about 3 / n of all effective questions.
    """
    known = [e for e in estimates if e.value is not None and e.ess > 0]
    if not known:
        return Estimate.missing("no estimate: no edit has one", len(estimates))
    low, high = _own_interval(known)
    if len(known) >= MIN_EDITS_TO_BOOTSTRAP and float(np.ptp(_values(known))) > 0:
        edits_low, edits_high = _edits_like_them(_values(known))
        low, high = min(low, edits_low), max(high, edits_high)
    return Estimate(
        value=float(_values(known).mean()),
        low=max(0.0, low),
        high=min(1.0, high),
        n=sum(e.n for e in known),
        ess=_pooled_size(_sizes(known)),
    )


def _edits_like_them(values: Float[np.ndarray, " f"]) -> tuple[float, float]:
    """Wilson's interval at the number of trials that would vary as the rates do.

    R (1 - R) / (s² / f), less for f - 1 degrees of freedom (Korn and Graubard 1998).
    """
    f, mean = len(values), float(values.mean())
    variance = float(values.var(ddof=1)) / f
    return wilson(mean, mean * (1 - mean) / variance / (student(f - 1) / Z_95) ** 2)


def _values(known: Sequence[Estimate]) -> Float[np.ndarray, " f"]:
    return np.array([e.value for e in known], dtype=np.float64)


def _sizes(known: Sequence[Estimate]) -> Float[np.ndarray, " f"]:
    return np.array([e.ess for e in known], dtype=np.float64)


def _own_interval(known: Sequence[Estimate]) -> tuple[float, float]:
    """Of the mean of these edits."""
    if len(known) == 1 and known[0].low is not None and known[0].high is not None:
        return known[0].low, known[0].high
    return mean_interval(_values(known), _sizes(known))


def _pooled_size(sizes: Float[np.ndarray, " f"]) -> float:
    """Kish's effective number of all trials, those of edit i weighing 1 / (f n_i) each.

    No edit is less well known than by the toss of one coin.
    """
    if len(sizes) == 1:
        return float(sizes[0])
    return len(sizes) ** 2 / float(np.sum(1 / np.maximum(1.0, sizes)))


def _with_bootstrap(
    values: Float[np.ndarray, " f"], low: float, high: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Widen an interval to hold the bootstrap over edits, where there are enough that differ."""
    if len(values) < MIN_EDITS_TO_BOOTSTRAP or float(np.ptp(values)) == 0:
        return low, high
    boot_low, boot_high = bootstrap_mean(values, rng)
    return min(low, boot_low), max(high, boot_high)


def bootstrap_mean(
    values: Float[np.ndarray, " f"], rng: np.random.Generator
) -> tuple[float, float]:
    """A 95 % interval of a mean: percentile bootstrap, widened for few values (`widening`).

    Raises: ValueError for one value.
    """
    f = len(values)
    if f < 2:
        raise ValueError("a bootstrap needs at least two values")
    means = values[rng.integers(f, size=(N_BOOTSTRAP, f))].mean(axis=1)
    low, high = widened_percentiles(means, float(values.mean()), f)
    return float(low), float(high)


def widened_percentiles(
    replicates: Float[np.ndarray, "n ..."], center: float | Float[np.ndarray, " ..."], f: int
) -> tuple[Float[np.ndarray, " ..."], Float[np.ndarray, " ..."]]:
    """2.5 % and 97.5 % of replicates of a statistic of f values, widened as `bootstrap_mean`."""
    low, high = np.percentile(replicates, [2.5, 97.5], axis=0)
    scale = widening(f)
    return center + scale * (low - center), center + scale * (high - center)


def difference_over_edits(
    first_alone: Sequence[Estimate], second_alone: Sequence[Estimate], rng: np.random.Generator
) -> Estimate:
    """Mean over edits of the rate of one model minus that of another, on the same questions.

    first_alone, second_alone: per edit the share of questions in which only that model is hit. What
    both share cancels, so the interval is as narrow as the two models are alike: from the lowest
    share of the one less the highest of the other, to the opposite.
    Raises: ValueError for different numbers of edits.
    """
    if len(first_alone) != len(second_alone):
        raise ValueError(
            f"{len(first_alone)} and {len(second_alone)} rates: must be of the same edits"
        )
    pairs = [
        (a, b)
        for a, b in zip(first_alone, second_alone, strict=True)
        if a.value is not None and b.value is not None
    ]
    if not pairs:
        return Estimate.missing("no estimate: no edit has a rate for both")
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    first_low, first_high = _own_interval(first)
    second_low, second_high = _own_interval(second)
    values = _values(first) - _values(second)
    return _difference(values, first_low - second_high, first_high - second_low, rng)


def gap_over_edits(
    asked: Sequence[float], failure: Sequence[Estimate], rng: np.random.Generator
) -> Estimate:
    """Mean over edits of asked-prompt success - (1 - edit failure).

    asked: a success per edit, of one prompt that was asked; it has no sampling error. Where it is
    the same for all edits, the interval is that of the failure.
    """
    known = [(a, e) for a, e in zip(asked, failure, strict=True) if e.value is not None]
    if not known:
        return Estimate.missing("no estimate: no edit has a rate for both")
    success = np.array([a for a, _ in known], dtype=np.float64)
    failing = [e for _, e in known]
    shift = float(success.mean()) - 1
    if float(np.ptp(success)) == 0:
        rate = mean_over_edits(failing)
        assert rate.low is not None and rate.high is not None
        low, high = rate.low, rate.high
        value = shift + float(_values(failing).mean())
        n = len(failing)
        return Estimate(value=value, low=shift + low, high=shift + high, n=n, ess=float(n))
    low, high = _own_interval(failing)
    return _difference(success - 1 + _values(failing), shift + low, shift + high, rng)


def _difference(
    values: Float[np.ndarray, " f"], low: float, high: float, rng: np.random.Generator
) -> Estimate:
    low, high = _with_bootstrap(values, low, high, rng)
    n = len(values)
    return Estimate(
        value=float(values.mean()), low=max(-1.0, low), high=min(1.0, high), n=n, ess=float(n)
    )


def mean_of_shares(shares: Sequence[float], n: int, *, none: str = "no edit has one") -> Estimate:
    """The mean of numbers in [0, 1], one an edit and without errors of their own.

    Student's interval, for edits like these. Where all f shares are equal another one may still
    come up with a probability of 1 - 0.05^(1/f), and be anything in [0, 1].

    none: why there is no number at all, where there is none.
    """
    if not shares:
        return Estimate.missing(f"no estimate: {none}")
    f = len(shares)
    mean = float(np.mean(shares))
    other = 1 - 0.05 ** (1 / f)
    low, high = mean * (1 - other), mean + (1 - mean) * other
    if float(np.ptp(shares)) > 0:
        error = float(np.std(shares, ddof=1)) / math.sqrt(f)
        half = student(f - 1) * error
        low, high = max(0.0, mean - half), min(1.0, mean + half)
    return Estimate(value=mean, low=low, high=high, n=n, ess=float(f))
