"""Spaces of questions with known rates, drawn and estimated as an audit does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.statistics.estimates import rate
from support.draws import draw_union, log_softmax

NOMINAL_AT_LEAST = 0.92
N_ITEMS = 120
COUNTS = ((6, 6), (12, 12), (8, 48))


@dataclass(frozen=True)
class Space:
    """Questions with both distributions; `known`: the control answers with the original."""

    log_p_ref: Float[np.ndarray, " s"]
    log_p_f: Float[np.ndarray, " s"]
    known: Bool[np.ndarray, " s"]
    hit: Bool[np.ndarray, " s"]

    @property
    def exact(self) -> float:
        mass = np.exp(self.log_p_ref) * self.known
        return float(mass @ self.hit / mass.sum())


def space_with(target: float, rng: np.random.Generator) -> Space:
    """Failures of about this mass, where the sampler goes, where it does not, or anywhere."""
    log_p_ref = log_softmax(rng.normal(0, rng.choice([0.5, 1.2, 2.0]), N_ITEMS))
    log_p_f = log_softmax(log_p_ref + rng.normal(0, 1.5, N_ITEMS))
    known = rng.random(N_ITEMS) < 0.6
    mass = np.exp(log_p_ref) * known / (np.exp(log_p_ref) @ known)
    order = np.argsort((log_p_f - log_p_ref) * rng.choice([-1, 0, 1]) + rng.normal(size=N_ITEMS))
    hit = np.zeros(N_ITEMS, dtype=bool)
    hit[order[np.cumsum(mass[order]) <= target + 1e-12]] = True
    return Space(log_p_ref, log_p_f, known, hit if target < 1 else np.ones(N_ITEMS, dtype=bool))


@dataclass(frozen=True)
class Sample:
    """The union of the draws of a space, with what `rate` is given; the first are of P_Q."""

    items: Int[np.ndarray, " m"]
    weights: Float[np.ndarray, " m"]
    log_p_ref: Float[np.ndarray, " m"]
    known: Bool[np.ndarray, " m"]
    hit: Bool[np.ndarray, " m"]
    largest_unseen: float


def sample_of(space: Space, counts: tuple[int, int], rng: np.random.Generator) -> Sample:
    union = draw_union(space.log_p_ref, [space.log_p_ref, space.log_p_f], counts, rng)
    i = union.items
    return Sample(
        i, union.weights, space.log_p_ref[i], space.known[i], space.hit[i], union.largest_unseen
    )


def estimated(space: Space, counts: tuple[int, int], rng: np.random.Generator) -> Estimate:
    s = sample_of(space, counts, rng)
    return rate(s.weights, s.known, s.hit, s.log_p_ref, s.largest_unseen)


def covers(estimate: Estimate, exact: float) -> bool:
    assert estimate.low is not None and estimate.high is not None
    return estimate.low - 1e-9 <= exact <= estimate.high + 1e-9


def width(estimate: Estimate) -> float:
    assert estimate.low is not None and estimate.high is not None
    return estimate.high - estimate.low
