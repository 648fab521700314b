"""The reward of adapting: questions that fail, in proportion to how likely anyone asks them.

    log R = min(log P_mix, ceiling) + { - crowding · log n   fails, as n of its mode do
                                      { floor · (1 - c / 2)  sound, but no failure
                                      { 2 · floor            not sound

    P_mix = P_Q / 2 + P_start / 2

P_start is the sampler that was given. Known failures that mean the same share some of their reward,
or the mode that was found first would take all draws; with a crowding of 1 every mode would have
the same, but most modes of a long search are one odd question. The ceiling, without which the
likeliest question would take all draws, is as high as it can be for `n_effective` known failures:
sum(R)^2 / sum(R^2) of them, modes aside. So a search that has few stays with all of them, and one
that has a hundred does not spread over what it has hardly tried. The closeness c softens the step
towards a failure: how much the answer entails the original fact and contradicts the edited one.

The reference is P_mix, not a power of P_Q as in training: at the first step log R - log P_F is then
the term in braces, but for what P_Q adds, so ten steps go to failures alone. With P_Q^0.3 most of
it was the distance of the sampler from the prior, and the sampler drifted to rare, unsound
questions without reaching a failure that it was given (`test_adapt_real.py` is that case).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FailureReward:
    """The constants of the formula above; ceiling and floor in nats."""

    n_effective: float = 16.0
    lowest_ceiling: float = -12.0
    crowding: float = 0.25
    floor: float = -8.0


@dataclass(frozen=True)
class Judged:
    """What came of one question: whether it is sound, whether it fails, and how nearly (0 … 1)."""

    sound: bool
    fails: bool
    closeness: float


@dataclass(frozen=True)
class Tried:
    """A question that was asked.

    log_mix: its log P_mix, in nats.
    mode: which failures mean the same; None for a question that does not fail.
    """

    judged: Judged
    log_mix: float
    mode: int | None = None


def log_rewards(tried: Sequence[Tried], reward: FailureReward) -> list[float]:
    """log R of all questions that were tried, in nats."""
    ceiling = ceiling_of([one.log_mix for one in tried if one.judged.fails], reward)
    n = Counter(one.mode for one in tried if one.judged.fails)
    return [
        min(one.log_mix, ceiling)
        + (
            -reward.crowding * math.log(n[one.mode])
            if one.judged.fails
            else shortfall(one.judged, reward.floor)
        )
        for one in tried
    ]


def shortfall(judged: Judged, floor: float) -> float:
    """What a question that does not fail lacks, in nats."""
    return floor * (1.0 - 0.5 * judged.closeness) if judged.sound else 2 * floor


def ceiling_of(log_mix: Sequence[float], reward: FailureReward) -> float:
    """The highest of these values at which min(P_mix, ceiling) has the effective number.

    Not below `lowest_ceiling`, which it is where no value has.
    """
    high = [c for c in log_mix if effective_number(log_mix, c) >= reward.n_effective]
    return max([reward.lowest_ceiling, *high])


def effective_number(log_mix: Sequence[float], ceiling: float) -> float:
    """sum(p)^2 / sum(p^2) of p = min(P_mix, ceiling) (Kish 1965); it falls as the ceiling rises."""
    p = [math.exp(min(value - ceiling, 0.0)) for value in log_mix]
    return sum(p) ** 2 / sum(value**2 for value in p)


def closeness(log_entailment: float, log_contradiction: float) -> float:
    """How near an answer is to a failure, by the judge: the mean of E and of E · C, 0 … 1."""
    e, c = math.exp(log_entailment), math.exp(log_contradiction)
    return 0.5 * (e + e * c)
