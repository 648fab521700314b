"""Draws from the stored questions of a fact, with weights for means over all of them.

`replay.sampling` prefers what pays best, and a loss over such draws gives those questions more
weight. With the weights here it is an unbiased estimate of the loss over all stored questions of
the fact, whatever is preferred: draws without replacement by Gumbel-top-n, weighted by inclusion as
in `policy/inclusion.py`. (What the store itself keeps, and what it refused, is not corrected.)
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from contraflow.policy.inclusion import log_inclusion
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion


@dataclass(frozen=True)
class StoredDraw:
    """A stored question and its weight; the weights of a fact sum to about 1."""

    scored: ScoredQuestion
    weight: float


def draw_stored(
    stored: Sequence[ScoredQuestion],
    priorities: Sequence[float],
    n: int,
    rng: random.Random,
    settings: ReplayConfig,
) -> list[StoredDraw]:
    """Draw up to n of a fact's stored questions without replacement.

    Args:
        priorities: of the questions, in the order of ``stored``.
        settings: `sampling` is uniform, rank or reward.
    """
    m = len(stored)
    order = sorted(range(m), key=lambda i: (-priorities[i], stored[i].question_ids))
    log_p = _log_shares([priorities[i] for i in order], settings)
    # Gumbel noise; 5e-324, the least positive number, stands for a random number of 0.
    noisy = [x - math.log(-math.log(rng.random() or 5e-324)) for x in log_p]
    places = sorted(range(m), key=lambda place: -noisy[place])
    threshold = noisy[places[n]] if n < m else -math.inf
    included = log_inclusion(torch.tensor(log_p, dtype=torch.float64), torch.tensor(threshold))
    weight = (-included).exp() / m
    return [StoredDraw(stored[order[place]], float(weight[place])) for place in places[:n]]


def _log_shares(best_first: Sequence[float], settings: ReplayConfig) -> list[float]:
    """Log-probability of each question as a first draw; priorities are ordered best first."""
    m = len(best_first)
    if settings.sampling == "reward":
        scores = torch.tensor(best_first, dtype=torch.float64) / settings.sampling_temp
        return [float(x) for x in scores.log_softmax(0)]
    if settings.sampling == "rank":
        # As in replay/selection.py: the best quarter of the list gets half of the draws.
        return [math.log(math.sqrt((k + 1) / m) - math.sqrt(k / m)) for k in range(m)]
    return [-math.log(m)] * m
