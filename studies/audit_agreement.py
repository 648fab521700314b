"""How far estimates of edits agree with direct ones: counts for a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from contraflow.auditing.outcome.result import Estimate

RATES = ("edit_failure", "residual_belief")


@dataclass(frozen=True)
class Comparison:
    """One rate of one edit under one edited model: the direct estimate, and others by name."""

    subject: str
    model: str
    rate: str
    direct: Estimate
    others: dict[str, Estimate]


def is_inside(estimate: Estimate, direct: Estimate) -> bool:
    """Whether the estimate lies in the direct estimate's interval."""
    assert estimate.value is not None and direct.low is not None and direct.high is not None
    return direct.low <= estimate.value <= direct.high


def agrees(first: Estimate, second: Estimate) -> bool:
    """Whether the 95 % interval of their difference holds 0 (Newcombe 1998, method 10)."""
    high, low = sorted((first, second), key=lambda e: e.value or 0.0, reverse=True)
    assert high.value is not None and high.low is not None
    assert low.value is not None and low.high is not None
    return high.value - low.value <= math.hypot(high.value - high.low, low.high - low.value)


def chance_inside(estimate: Estimate, direct: Estimate) -> float:
    """P(|estimate - direct| <= 1.96 s_d) for independent unbiased estimates of errors s_e, s_d.

    Their difference has the variance s_e² + s_d², with s² = R (1 - R) / ess at the direct R.
    """
    ratio = 1 + direct.ess / estimate.ess
    return float(special.erf(1.959964 / math.sqrt(2 * ratio)))


def table(comparisons: Sequence[Comparison], names: Sequence[str]) -> str:
    """One line per estimate and rate: how many edits agree with the direct estimate."""
    lines = [
        "| estimate | rate | edits | inside the direct interval | expected "
        "| agree | mean error | mean width |",
        "|---" * 8 + "|",
    ]
    for name in names:
        for kind in RATES:
            pairs = [(c.others[name], c.direct) for c in comparisons if c.rate == kind]
            known = [(e, d) for e, d in pairs if e.value is not None and d.value is not None]
            lines.append(_line(name, kind, known))
    return "\n".join(lines)


def _line(name: str, kind: str, pairs: Sequence[tuple[Estimate, Estimate]]) -> str:
    def mean(of: Callable[[Estimate, Estimate], float]) -> float:
        return float(np.mean([of(e, d) for e, d in pairs])) if pairs else math.nan

    inside = sum(is_inside(e, d) for e, d in pairs)
    expected = sum(chance_inside(e, d) for e, d in pairs)
    agreed = sum(agrees(e, d) for e, d in pairs)
    error = mean(lambda e, d: e.value - d.value)  # type: ignore[operator]
    width = mean(lambda e, _: e.high - e.low)  # type: ignore[operator]
    return (
        f"| {name} | {kind} | {len(pairs)} | {inside} | {expected:.1f} | {agreed} "
        f"| {error:+.3f} | {width:.2f} |"
    )


def shown(estimate: Estimate) -> str:
    """value [low, high]."""
    if estimate.value is None:
        return "none"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
