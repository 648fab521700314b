"""Weights by which draws estimate means over the reference distribution p_ref = P_Q.

**Without replacement** (what an audit draws). The n largest perturbed log-probabilities of a
distribution P are n draws without replacement. Let kappa(-q) be the n-th largest value among all
questions but q. Then q is drawn exactly if its own value exceeds kappa(-q), so, given the values of
all others, with probability pi(q) = 1 - exp(-exp(log P(q) - kappa(-q))). Of a drawn question
kappa(-q) is the (n+1)-th largest value of all; of one that was not drawn it is the n-th. Samples of
several distributions ("strata") are independent, so q is in their union with probability
1 - Π (1 - pi_i(q)), given the values of all others in each. Hence E[1{q in union} / pi(q)] = 1, and
Σ p_ref(q) / pi(q) · h(q) over the union is an unbiased estimate of the p_ref-mean of any h (Horvitz
and Thompson 1952; one sample: Kool, van Hoof and Welling 2019, arXiv 1903.06059, section 4.1).

**With replacement.** n_0 draws of p_ref and n_1 of another distribution P_F are draws of their
mixture with alpha = n_0 / (n_0 + n_1), and w = p_ref / (alpha · p_ref + (1 - alpha) · P_F) is at
most 1 / alpha (deterministic mixture; Owen and Zhou 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

SMALL_LOG_RATE = -30.0  # below it, log(1 - exp(-a)) is log a with an error below 1e-13


@dataclass(frozen=True)
class Stratum:
    """A sample without replacement, seen from the m questions of the union of all samples.

    log_p: log-probability of each question under the distribution of this sample, in nats.
    drawn: whether this sample drew it.
    log_threshold, log_smallest: the (n+1)-th and n-th largest perturbed log-probabilities; -inf
        where the distribution has fewer questions, all of which are drawn then.
    """

    log_p: Float[np.ndarray, " m"]
    drawn: Bool[np.ndarray, " m"]
    log_threshold: float
    log_smallest: float

    @property
    def log_rate(self) -> Float[np.ndarray, " m"]:
        """log -log(1 - pi(q)) = log P(q) - kappa(-q): of a sample that draws q or not, given all
        others. -inf where this distribution cannot give q, inf where it draws everything.
        """
        kappa = np.where(self.drawn, self.log_threshold, self.log_smallest)
        # -inf - -inf is undefined: an exhausted sample does not contain what P cannot give.
        possible = np.isfinite(self.log_p)
        rate: Float[np.ndarray, " m"] = np.where(possible, self.log_p, 0.0) - kappa
        return np.where(possible, rate, -np.inf)


def union_log_inclusion(strata: Sequence[Stratum]) -> Float[np.ndarray, " m"]:
    """log pi(q) of each question in the union of independent samples.

    -log(1 - pi) adds up over the samples.
    Raises: ValueError without a sample, and for a question that no sample has drawn.
    """
    if not strata:
        raise ValueError("no sample: give at least one stratum")
    if not np.any([stratum.drawn for stratum in strata], axis=0).all():
        raise ValueError("a question was drawn by no sample: its inclusion is unknown")
    log_rate = np.logaddexp.reduce([stratum.log_rate for stratum in strata], axis=0)
    with np.errstate(over="ignore", divide="ignore"):
        log_pi = np.log(-np.expm1(-np.exp(log_rate)))
    # A small pi is its own rate, whose log does not underflow.
    inclusion: Float[np.ndarray, " m"] = np.where(log_rate < SMALL_LOG_RATE, log_rate, log_pi)
    return inclusion


def union_weights(
    log_p_ref: Float[np.ndarray, " m"], strata: Sequence[Stratum]
) -> Float[np.ndarray, " m"]:
    """p_ref(q) / pi(q) of each question in the union of independent samples.

    Their sum has mean 1. A question that p_ref cannot give (log_p_ref = -inf) has weight 0.
    Raises: ValueError without a sample, and for a question that no sample has drawn.
    """
    weights: Float[np.ndarray, " m"] = np.exp(log_p_ref - union_log_inclusion(strata))
    return weights


def mixture_weights(
    log_p_ref: Float[np.ndarray, " n"], log_p_other: Float[np.ndarray, " n"], n_ref: int
) -> Float[np.ndarray, " n"]:
    """Weights of n draws with replacement, n_ref of them of p_ref; of mean 1, at most n / n_ref.

    Raises: ValueError without a draw of p_ref.
    """
    n = len(log_p_ref)
    if not 0 < n_ref <= n:
        raise ValueError(f"n_ref={n_ref} of {n} draws: must be at least 1 and at most all")
    if n_ref == n:
        return np.ones(n)
    log_alpha, log_rest = np.log(n_ref / n), np.log1p(-n_ref / n)
    log_mixture = np.logaddexp(log_alpha + log_p_ref, log_rest + log_p_other)
    weights: Float[np.ndarray, " n"] = np.exp(log_p_ref - log_mixture)
    return weights
