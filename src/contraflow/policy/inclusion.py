"""Inclusion probabilities of sampling without replacement by perturbed log-probabilities.

Each question's log-probability gets Gumbel noise, and the n largest sums are the sample. Given the
threshold kappa, the (n+1)-th largest sum, question q is in the sample with probability
1 - exp(-exp(log P(q) - kappa)), independently of the others (Kool, van Hoof and Welling 2019,
arXiv 1903.06059, section 4.1; Duffield, Lund and Thorup 2007 for priority sampling in general).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_SERIES_BELOW = -20.0  # there, log(1 - exp(-a)) = log a - a/2 with an error below a² / 24


def log1mexp(a: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """Return log(1 - exp(-a)) for a >= 0 without cancellation; -inf at 0."""
    return torch.where(a < 0.6931471805599453, (-(-a).expm1()).log(), (-(-a).exp()).log1p())


def log_inclusion(
    log_p: Float[Tensor, "*s"], log_threshold: Float[Tensor, "*s"]
) -> Float[Tensor, "*s"]:
    """Return the log-probability of being in the sample, given the threshold, in float64.

    Args:
        log_p: log-probability of a question under the distribution that was sampled.
        log_threshold: kappa; -inf where every question was drawn, which gives 0.

    sum p_ref(q) / inclusion(q) · h(q) over the sample is an unbiased estimate of the mean of h
    under p_ref (Horvitz-Thompson), for every p_ref that is 0 where P is 0.
    """
    x = log_p.double() - log_threshold.double()
    # exp(x) is 0 in float64 below -745, where the logarithm must still be x.
    series = x - x.clamp(max=_SERIES_BELOW).exp() / 2
    return torch.where(x < _SERIES_BELOW, series, log1mexp(x.clamp(min=_SERIES_BELOW).exp()))
