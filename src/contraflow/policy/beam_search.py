"""Stochastic beam search: the questions of a fact with the largest perturbed log-probabilities.

The log-probability of every complete question gets Gumbel noise (Kool, van Hoof and Welling 2019,
arXiv 1903.06059, algorithm 1). The noise is generated from the root down: a prefix holds the
maximum over the questions below it, so the k best prefixes of each length lead to the k best
questions, and no others are read.

Departures from the paper:
1. The noise depends on the path alone (`tree_noise.py`). For one key, the first 8 of 64 questions
   are those of a search for 8, up to rounding, and the other facts of a batch make no difference.
2. The maximum at the root is drawn, not set to 0: thresholds would be wrong otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.facts import Fact
from contraflow.policy.inclusion import log1mexp
from contraflow.policy.lora import LoraPolicy
from contraflow.policy.tree_noise import child_keys, children_gumbel, root_gumbel

_CPU_CHUNK = 1 << 16  # noise values at a time: they stay in the processor's cache
_GPU_CHUNK = 1 << 22


@dataclass(frozen=True)
class Nodes:
    """m prefixes or complete questions of several facts."""

    fact: Int[Tensor, " m"]
    ids: Int[Tensor, "m w"]
    length: Int[Tensor, " m"]
    log_p: Float[Tensor, " m"]
    gumbel: Float[Tensor, " m"]  # the largest perturbed log-probability below the node
    key: Int[Tensor, " m"]

    def __getitem__(self, index: Tensor | slice) -> Nodes:
        return Nodes(*(cast(Tensor, getattr(self, f.name))[index] for f in fields(self)))

    def and_then(self, other: Nodes) -> Nodes:
        """Both, in this order."""
        names = [f.name for f in fields(self)]
        return Nodes(*(torch.cat([getattr(self, n), getattr(other, n)]) for n in names))


@dataclass(frozen=True)
class _Children:
    """The best c children of some nodes."""

    parent: Int[Tensor, " c"]
    column: Int[Tensor, " c"]
    log_p: Float[Tensor, " c"]
    gumbel: Float[Tensor, " c"]


class StochasticBeamSearch:
    """The search for the ``width`` questions of each fact with the largest sums."""

    def __init__(self, policy: LoraPolicy, width: int, frozen: bool, temperature: float) -> None:
        self.policy = policy
        self.width = width
        self.frozen = frozen
        self.temperature = temperature

    def __call__(self, facts: Sequence[Fact], keys: Int[Tensor, " f"]) -> Iterator[Nodes]:
        """Yield for each fact its complete questions, the largest sum first."""
        with self.policy.lm.frozen() if self.frozen else nullcontext():
            leaves = self._leaves(facts, keys)
        leaves = leaves[_best_of_each(leaves.fact, leaves.gumbel, self.width)]
        for i in range(len(facts)):
            yield leaves[leaves.fact == i]

    def _leaves(self, facts: Sequence[Fact], keys: Int[Tensor, " f"]) -> Nodes:
        constraints = self.policy.constraints
        stop = len(constraints.action_ids) - 1
        decoder = self.policy.decoder(facts, len(facts) * self.width, frozen=self.frozen)
        live = _roots(keys, constraints.max_len)
        leaves = live[:0]
        row = live.fact
        for t in range(constraints.max_len):
            children = self._children(decoder.logits(), row, live, t)
            fact = torch.cat([leaves.fact, live.fact[children.parent]])
            gumbel = torch.cat([leaves.gumbel, children.gumbel])
            best = _best_of_each(fact, gumbel, self.width)
            n_leaves = len(leaves.fact)
            leaves = leaves[best[best < n_leaves]]
            best = best[best >= n_leaves] - n_leaves
            ends = children.column[best] == stop
            leaves = leaves.and_then(_reached(children, best[ends], live))
            best = best[~ends]
            if len(best) == 0:
                return leaves
            row = row[children.parent[best]]
            live = self._extended(children, best, live, t)
            if t + 1 < constraints.max_len:
                row = decoder.advance(row, live.ids[:, t])
        return leaves.and_then(live)  # the stop is forced at the longest length

    def _extended(self, children: _Children, best: Int[Tensor, " m"], live: Nodes, t: int) -> Nodes:
        """The prefixes that the chosen children are, one token longer than their parents."""
        column = children.column[best]
        action_ids = self.policy.constraints.action_ids
        nodes = _reached(children, best, live)
        nodes.ids[:, t] = action_ids[column]  # indexing has copied it
        return replace(
            nodes,
            length=nodes.length + 1,
            key=child_keys(nodes.key, column, len(action_ids)),
        )

    def _children(
        self, logits: Float[Tensor, "r a"], row: Int[Tensor, " m"], live: Nodes, t: int
    ) -> _Children:
        """Perturb the children of every live prefix and keep the best of each.

        Rows are taken a few at a time: float64 noise of all actions and rows would be the largest
        tensor of the search.
        """
        logits = self.policy.constraints.mask_(logits, t)
        n_actions = logits.shape[1]
        chunk = max(1, (_GPU_CHUNK if logits.is_cuda else _CPU_CHUNK) // n_actions)
        found = []
        for start in range(0, len(row), chunk):
            part = slice(start, start + chunk)
            found.append(self._children_of(logits[row[part]], live[part]))
        column, log_p, gumbel = (torch.cat(x) for x in zip(*found, strict=True))
        parent = torch.arange(len(row), device=row.device)[:, None].expand_as(column)
        exists = gumbel > -torch.inf  # masked actions fill up where there are too few others
        return _Children(parent[exists], column[exists], log_p[exists], gumbel[exists])

    def _children_of(
        self, logits: Float[Tensor, "m a"], live: Nodes
    ) -> tuple[Int[Tensor, "m k"], Float[Tensor, "m k"], Float[Tensor, "m k"]]:
        """Column, log P and perturbed log P of the best children of m prefixes."""
        # Subtract the maximum before dividing, so that no temperature overflows.
        scores = (logits - logits.max(1, keepdim=True).values).double() / self.temperature
        noise = children_gumbel(live.key, scores.shape[1])
        noisy, column = (scores + noise).topk(min(self.width, scores.shape[1]), 1)
        shift = live.log_p[:, None] - scores.logsumexp(1, keepdim=True)
        log_p = scores.gather(1, column) + shift
        return column, log_p, with_maximum(noisy + shift, live.gumbel)


def with_maximum(
    gumbel: Float[Tensor, "m k"], maximum: Float[Tensor, " m"]
) -> Float[Tensor, "m k"]:
    """Condition Gumbel variables on their maximum in each row; the first column is the largest.

    Monotone in the input, whose order it keeps: exp(-G) = exp(-T) - exp(-Z) + exp(-G~), in the
    form of Kool et al. 2019, appendix B.3, that neither overflows nor cancels.
    """
    v = maximum[:, None] - gumbel + log1mexp(gumbel[:, :1] - gumbel)
    return maximum[:, None] - v.relu() - (-v.abs()).exp().log1p()


def _roots(keys: Int[Tensor, " f"], max_len: int) -> Nodes:
    """The empty prefix of each fact: probability 1."""
    n = len(keys)
    fact = torch.arange(n, device=keys.device)
    gumbel = root_gumbel(keys)
    ids = torch.zeros(n, max_len, dtype=torch.long, device=keys.device)
    return Nodes(fact, ids, torch.zeros_like(fact), torch.zeros_like(gumbel), gumbel, keys)


def _reached(children: _Children, chosen: Int[Tensor, " m"], live: Nodes) -> Nodes:
    """Copy the parents of the chosen children, with the probabilities of the children."""
    parents = live[children.parent[chosen]]
    return replace(parents, log_p=children.log_p[chosen], gumbel=children.gumbel[chosen])


def _best_of_each(
    fact: Int[Tensor, " m"], gumbel: Float[Tensor, " m"], n: int
) -> Int[Tensor, " k"]:
    """Return the positions of the n largest of each fact, by fact and from the largest down."""
    order = gumbel.argsort(descending=True, stable=True)
    order = order[fact[order].argsort(stable=True)]
    counts = fact.bincount()
    first = (counts.cumsum(0) - counts)[fact[order]]
    rank = torch.arange(len(order), device=order.device) - first
    return order[rank < n]
