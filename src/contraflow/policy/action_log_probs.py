"""Log-probabilities of the actions taken and of the stop, with a memory-efficient gradient.

The log-normalizer is the only computation over all actions. Autograd would keep and accumulate
several tensors of the size of the logits: four times their memory, and most of the time is spent
on filling it. Here the forward pass keeps no such tensor, and the backward pass writes one, the
gradient.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.policy.constraints import Constraints

_CHUNK_STATES = 64  # bounds the size of temporary tensors over all actions


def action_log_probs(
    logits: Float[Tensor, "m a"],
    constraints: Constraints,
    step: Int[Tensor, " m"],
    at: Int[Tensor, " n"],
    taken: Int[Tensor, " n"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
    """Return log P of n actions taken at some of m states, and log P(stop) at every state.

    Args:
        logits: of the a actions at each state; the last column is the stop.
        step: number of tokens written at each state.
        at: the state at which each action is taken.
        taken: the column of each action taken.

    log P(stop) is -inf where the stop is masked. Differentiable once.
    """
    return cast(tuple[Tensor, Tensor], _ActionLogProbs.apply(logits, constraints, step, at, taken))


class _ActionLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, constraints: Constraints, step: Tensor, at: Tensor, taken: Tensor
    ) -> tuple[Tensor, Tensor]:
        chunks = zip(logits.split(_CHUNK_STATES), step.split(_CHUNK_STATES), strict=True)
        log_z = torch.cat([constraints.log_normalizer(chunk, t) for chunk, t in chunks])
        ctx.save_for_backward(logits, log_z, step, at, taken)
        ctx.constraints = constraints
        return logits[at, taken] - log_z[at], constraints.log_pterm(logits, log_z, step)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """d log P(a) / d logit(c) = [a = c] - P(c), over the actions that are not masked."""
        logits, log_z, step, at, taken = ctx.saved_tensors
        constraints: Constraints = ctx.constraints
        grad_taken, grad_stop = grads
        may_stop = step >= constraints.min_len
        must_stop = step >= constraints.max_len
        grad_stop = grad_stop.masked_fill(~may_stop, 0.0)
        grad_log_z = -grad_stop.index_add(0, at, grad_taken)
        # The gradient of log_z at a column is P(column), computed in place: exp(logit - log_z).
        grad = torch.empty_like(logits)
        for start in range(0, len(logits), _CHUNK_STATES):
            chunk = slice(start, start + _CHUNK_STATES)
            torch.sub(logits[chunk], log_z[chunk, None], out=grad[chunk])
            grad[chunk].exp_().mul_(grad_log_z[chunk, None])
        grad[:, -1].masked_fill_(~may_stop, 0.0)
        grad[must_stop, :-1] = 0.0
        grad[:, -1] += grad_stop
        grad.index_put_((at, taken), grad_taken, accumulate=True)
        return grad, None, None, None, None
