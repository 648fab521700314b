"""Sampling the next token of a question, by tensor operations that wait for no value.

The noise is drawn beforehand, one uniform number per question and token. So a question depends on
its own numbers only: not on the decoder, and not on when the other questions end.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from contraflow.models.decoding.texts import Chosen, Now, Request
from contraflow.policy.constraints import Constraints

BLOCK = 256  # columns whose probabilities are added up first


@dataclass(frozen=True)
class Sampling:
    """Samples an action; the stop ends the question."""

    constraints: Constraints

    @property
    def key(self) -> Hashable:
        # The recorded step holds this object, so that the id stays unique.
        return ("sampling", id(self.constraints.action_ids), self.constraints.min_len)

    def __call__(self, logits: Float[Tensor, "r a"], row: Int[Tensor, " n"], now: Now) -> Chosen:
        action_ids = self.constraints.action_ids
        logits = self.constraints.mask_early_stop_(logits, now.step) / now.temperature
        column, log_p = categorical(logits, row, now.noise)
        return Chosen(action_ids[column], column == len(action_ids) - 1, log_p)


def request(
    constraints: Constraints, n: int, rng: torch.Generator, temperature: float, device: torch.device
) -> Request:
    """Ask for n questions at a temperature; draws all their random numbers at once."""
    return Request(
        Sampling(constraints),
        torch.rand(constraints.max_len, n, generator=rng, device=device),
        torch.full((), temperature, device=device),
        least=constraints.min_len,
    )


def categorical(
    logits: Float[Tensor, "r a"], row: Int[Tensor, " n"], u: Float[Tensor, " n"]
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Sample one action for each of n questions from the distribution of its row.

    Returns the columns and their log-probabilities. Inverts the cumulative distribution at u, by
    blocks of columns and then within one block: a cumulative sum over all columns takes longer
    than everything else here.
    """
    p = logits.softmax(-1)
    r, a = p.shape
    blocks = functional.pad(p, (0, -a % BLOCK)).view(r, -1, BLOCK)
    mass = blocks.sum(-1)[row]
    up_to = mass.cumsum(-1)
    target = u[:, None] * up_to[:, -1:]
    block = _first_above(up_to, target, mass)
    before = functional.pad(up_to, (1, 0)).gather(1, block)
    inside = blocks.flatten(0, 1).index_select(0, row * mass.shape[1] + block[:, 0])
    within = _first_above(inside.cumsum(-1), target - before, inside)
    column = (block * BLOCK + within)[:, 0]
    return column, inside.gather(1, within)[:, 0].log()


def _first_above(
    up_to: Float[Tensor, "n k"], target: Float[Tensor, "n 1"], mass: Float[Tensor, "n k"]
) -> Int[Tensor, "n 1"]:
    """Return the first entry whose cumulative sum is above the target.

    Rounding may lead to an entry of mass 0, such as a masked stop: at the end, or because a
    parallel sum may round a value above its neighbor. The largest entry is returned then.
    """
    found = torch.searchsorted(up_to, target, right=True).clamp(max=up_to.shape[1] - 1)
    return torch.where(mass.gather(1, found) > 0, found, mass.argmax(-1, keepdim=True))
