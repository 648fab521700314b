"""Draws of known distributions without replacement, for the tests of weights and estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from contraflow.auditing.statistics.weights import Stratum, union_weights


@dataclass(frozen=True)
class Draw:
    """The n different draws of one distribution over s items, with their two bounds."""

    drawn: Bool[np.ndarray, " s"]
    log_threshold: float
    log_smallest: float


@dataclass(frozen=True)
class Union:
    """The items that any of several samples drew, with their weights."""

    items: Int[np.ndarray, " m"]
    weights: Float[np.ndarray, " m"]
    largest_unseen: float  # exp(kappa) of the first sample, as in `EditDraws`


def log_softmax(logits: Float[np.ndarray, " s"]) -> Float[np.ndarray, " s"]:
    return logits - np.logaddexp.reduce(logits)


def draw_distinct(log_p: Float[np.ndarray, " s"], n: int, rng: np.random.Generator) -> Draw:
    """Gumbel-top-k over the whole space; both bounds as `sample_distinct` gives them."""
    perturbed = log_p + rng.gumbel(size=log_p.shape)
    possible = np.isfinite(log_p)
    order = np.argsort(-perturbed)
    ranked = perturbed[order][: possible.sum()]
    drawn = np.zeros(log_p.shape, dtype=bool)
    drawn[order[: min(n, len(ranked))]] = True
    return Draw(
        drawn,
        log_threshold=float(ranked[n]) if len(ranked) > n else -np.inf,
        log_smallest=float(ranked[n - 1]) if len(ranked) >= n else -np.inf,
    )


def strata_of_union(
    log_ps: Sequence[Float[np.ndarray, " s"]], draws: Sequence[Draw]
) -> tuple[Int[np.ndarray, " m"], list[Stratum]]:
    """The items of the union, and each sample seen from them."""
    items = np.flatnonzero(np.any([draw.drawn for draw in draws], axis=0))
    strata = [
        Stratum(log_p[items], draw.drawn[items], draw.log_threshold, draw.log_smallest)
        for log_p, draw in zip(log_ps, draws, strict=True)
    ]
    return items, strata


def draw_union(
    log_p_ref: Float[np.ndarray, " s"],
    log_ps: Sequence[Float[np.ndarray, " s"]],
    counts: Sequence[int],
    rng: np.random.Generator,
) -> Union:
    """Draw counts[i] different items of each distribution, and weigh their union."""
    draws = [draw_distinct(log_p, n, rng) for log_p, n in zip(log_ps, counts, strict=True)]
    items, strata = strata_of_union(log_ps, draws)
    weights = union_weights(log_p_ref[items], strata)
    return Union(items, weights, float(np.exp(draws[0].log_smallest)))
