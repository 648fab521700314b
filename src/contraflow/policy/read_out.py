"""From logits to what the objectives need of them: log P of the tokens taken and log P(stop), and
nothing else.

The log-normalizer is the only work over all actions. Left to autograd it would keep and add up
several tensors of the size of the logits (4 times their memory, and most of the time to fill it);
here the forward pass keeps none and the backward pass writes the one that is asked for, the
gradient.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.policy.constraints import Constraints

_ROWS = 64  # states at a time: what the vocabulary's temporaries are bounded by


def read_out(
    logits: Float[Tensor, "m a"],
    constraints: Constraints,
    step: Int[Tensor, " m"],
    at: Int[Tensor, " n"],
    taken: Int[Tensor, " n"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
    """From logits of m states to log P of n actions taken at some of them, and log P(stop) at all.

    ``step`` is the number of tokens written at each state, ``at`` the state at which each action is taken and
    ``taken`` its column. log P(stop) is -inf where the stop is no action. Differentiable once.
    """
    return cast(tuple[Tensor, Tensor], _ReadOut.apply(logits, constraints, step, at, taken))


class _ReadOut(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, constraints: Constraints, step: Tensor, at: Tensor, taken: Tensor
    ) -> tuple[Tensor, Tensor]:
        parts = zip(logits.split(_ROWS), step.split(_ROWS), strict=True)
        log_z = torch.cat([constraints.log_normalizer(some, t) for some, t in parts])
        ctx.save_for_backward(logits, log_z, step, at, taken)
        ctx.constraints = constraints
        return logits[at, taken] - log_z[at], constraints.log_pterm(logits, log_z, step)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """d log P(a) / d logit(c) = [a = c] - P(c), over the actions that exist."""
        logits, log_z, step, at, taken = ctx.saved_tensors
        limits: Constraints = ctx.constraints
        of_taken, of_stop = grads
        may_stop, must_stop = step >= limits.min_len, step >= limits.max_len
        of_stop = of_stop.masked_fill(~may_stop, 0.0)
        of_log_z = -of_stop.index_add(0, at, of_taken)
        grad = torch.empty_like(logits)
        for row in range(0, len(logits), _ROWS):
            some = slice(row, row + _ROWS)
            torch.sub(logits[some], log_z[some, None], out=grad[some])
            grad[some].exp_().mul_(of_log_z[some, None])
        grad[:, -1].masked_fill_(~may_stop, 0.0)
        grad[must_stop, :-1] = 0.0
        grad[:, -1] += of_stop
        grad.index_put_((at, taken), of_taken, accumulate=True)
        return grad, None, None, None, None
