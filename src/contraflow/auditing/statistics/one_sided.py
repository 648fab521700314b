"""What a share can still be when every counted question that was drawn is a hit.

The drawn hits have the mass D = Σ p_ref, which is known, and the other hits the mass U, estimated
by Û = Σ w (1 - pi) with the mean weight b = Σ w² (1 - pi) / Û: as a count of Û / b questions of
weight b each. No miss was drawn, although a draw leaves a mass M of misses out with a probability
of at most exp(-M / k) where none weighs more than k. Given the share R, M = (D + U) (1 - R) / R.
The largest likelihood over U, against that of R = 1, is then with c = (1 - R) / (k R)

    -D c - (Û / b) log(1 + b c)

and the bound is where it is log 0.05. For n equal questions of small probability this is
R^n = 0.05, the exact bound of Clopper and Pearson; what was surely drawn makes it tighter.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import optimize

BUDGET = -math.log(0.05)


def lower_bound(
    weights: Float[np.ndarray, " n"], included: Float[np.ndarray, " n"], largest: float
) -> float:
    """Lower 95 % bound of the share; 1 where no miss can weigh anything.

    weights, included: of the counted questions, all of them hits. largest: k.
    """
    total = float(np.sum(weights))
    if largest <= 0:
        return 1.0
    unlikely = weights * (1 - included)
    unseen = float(np.sum(unlikely))
    seen = max(0.0, total - unseen)
    each = float(np.sum(weights * unlikely)) / unseen if unseen > 0 else 0.0

    def excess(log_c: float) -> float:
        c = math.exp(log_c)
        count = unseen / each * math.log1p(each * c) if each > 0 else 0.0
        return seen * c + count - BUDGET

    # log(1 + x) is between 0 and x. Without seen mass there is at least one question of weight b.
    low = math.log(BUDGET / total)
    high = math.log(BUDGET / seen) if seen > 0 else math.log(math.expm1(BUDGET) / each)
    return 1 / (1 + math.exp(_root(excess, low, high)) * largest)


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where an increasing function is 0; an end that is the root but for rounding is returned."""
    if excess(low) >= 0:
        return low
    return high if excess(high) <= 0 else float(optimize.brentq(excess, low, high))
