"""Sums, means and softmaxes within the questions of each fact, for every question of it.

``group`` tells the questions of a fact by a number, whatever numbers they are. Nothing here waits
for a GPU: the host need not know how many facts there are.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def group_sum(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return for each question the sum of the values of its group."""
    number = _below_b(group)
    return torch.zeros_like(values).index_add(0, number, values)[number]


def group_mean(
    values: Float[Tensor, " b"],
    group: Int[Tensor, " b"],
    weight: Float[Tensor, " b"] | None = None,
) -> Float[Tensor, " b"]:
    """Return for each question the (weighted) mean of the values of its group."""
    if weight is None:
        return group_sum(values, group) / group_sum(torch.ones_like(values), group)
    tiny = torch.finfo(values.dtype).tiny
    return group_sum(weight * values, group) / group_sum(weight, group).clamp(min=tiny)


def centered(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Subtract from each value the mean of its group."""
    return values - group_mean(values, group)


def group_max(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return for each question the largest value of its group."""
    number = _below_b(group)
    lowest = torch.full_like(values, -torch.inf)
    return lowest.scatter_reduce(0, number, values, "amax")[number]


def group_logsumexp(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return for each question log Σ exp of the values of its group."""
    largest = group_max(values.detach(), group)
    return largest + group_sum((values - largest).exp(), group).log()


def group_log_softmax(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return the values normalized within each group, so that their exponentials sum to 1."""
    return values - group_logsumexp(values, group)


def mean_over_facts(
    values: Float[Tensor, " b"], group: Int[Tensor, " b"], weight: Float[Tensor, " b"] | None
) -> Float[Tensor, ""]:
    """Return the plain mean over questions, or the mean over facts of Σ weight · value.

    ``weight`` is the estimated share of each question under its fact's distribution; the shares of
    a fact sum to about 1.
    """
    if weight is None:
        return values.mean()
    return (weight * values).sum() / n_facts(group)


def n_facts(group: Int[Tensor, " b"]) -> Int[Tensor, ""]:
    """Return the number of facts that have questions."""
    return _starts(group.sort().values).sum()


def _below_b(group: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
    """Number the groups that have members anew, from 0 in their order: below b, as a size must be
    known to the host.
    """
    ordered, place = group.sort()
    number = _starts(ordered).cumsum(0) - 1
    return torch.empty_like(number).scatter(0, place, number)


def _starts(ordered: Int[Tensor, " b"]) -> Bool[Tensor, " b"]:
    """Whether each number is the first of its kind."""
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return first
