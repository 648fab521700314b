"""Log-probabilities of the actions taken and of the stop, and their gradient by hidden state.

The logits of all actions at all states are the largest tensors of a training step. Here they exist
for a block of states at a time and are computed once. With logits z = s W h, P = softmax(z) and a
frozen head W, the gradient of log P(a) = z_a − log Σ exp z by the hidden state h is

    s (W_a − Σ_c P(c) W_c)

so the forward pass keeps Σ_c P(c) W_c, one vector per state, and the backward pass needs no logits.
Autograd would keep several tensors of the size of the logits; recomputing them instead is a third
matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.models.causal_lm import CausalLM
from contraflow.policy.constraints import Constraints
from contraflow.policy.states import Actions

# States whose logits exist at a time. On a CPU, the logits of a block stay in its caches.
BLOCK_STATES = 128
# On an accelerator few large blocks are faster; their float32 logits may take this many bytes.
BLOCK_BYTES = 128 * 2**20


@dataclass(frozen=True)
class ActionHead:
    """The map from hidden states to the logits of a actions, for a frozen head.

    logits: float32, in new memory, which is overwritten here.
    weight: W of the head, one row per action.
    slope: d logit / d (W h) at some logits: a number, or one for each of them.
    padded: W and zero rows behind it (`models/head_rows.py`), if there are any.
    """

    logits: Callable[[Float[Tensor, "m d"]], Float[Tensor, "m a"]]
    weight: Float[Tensor, "a d"]
    slope: Callable[[Float[Tensor, "*s"]], Float[Tensor, "*s"] | float]
    padded: Float[Tensor, "p d"] | None = None

    @classmethod
    def of(cls, lm: CausalLM, action_ids: Int[Tensor, " a"], temperature: float) -> ActionHead:
        """The head of a model, its logits divided by the temperature."""

        def logits(hidden: Tensor) -> Tensor:
            found = lm.logits(hidden, action_ids)
            return found if temperature == 1.0 else found / temperature

        def slope(of: Tensor) -> Tensor | float:
            return lm.logit_slope(of * temperature) / temperature

        rows = lm.head_rows(action_ids)
        return cls(logits, rows.weight, slope, rows.padded)

    def mean_row_(self, p: Float[Tensor, "k a"]) -> Float[Tensor, "k d"]:
        """Σ_c p(c) W_c, in the dtype of p, which is overwritten.

        The likeliest action is added in the dtype of p. In W's half precision a p of 0.999 is 1,
        and what is left of W_a − Σ_c p(c) W_c, of the size 1 − p, would be lost.
        """
        if p.dtype == self.weight.dtype:
            return self._product(p)
        largest, of = p.max(dim=1, keepdim=True)
        rest = self._product(p.scatter_(1, of, 0.0))
        return torch.addcmul(rest.to(p.dtype), largest, self.weight[of.squeeze(1)].to(p.dtype))

    def _product(self, p: Float[Tensor, "k a"]) -> Float[Tensor, "k d"]:
        """p W, in the dtype of W."""
        if self.padded is None or len(self.padded) == len(self.weight):
            return p.to(self.weight.dtype) @ self.weight
        n_actions = len(self.weight)
        aligned = self.padded.new_empty(len(p), len(self.padded))
        aligned[:, :n_actions] = p
        aligned[:, n_actions:] = 0.0
        return aligned @ self.padded


def action_log_probs(
    hidden: Float[Tensor, "m d"],
    head: ActionHead,
    constraints: Constraints,
    step: Int[Tensor, " m"],
    actions: Actions,
) -> tuple[Float[Tensor, " e"], Float[Tensor, " m"]]:
    """Return log P of e actions taken at some of m states, and log P(stop) at every state.

    Args:
        step: number of tokens written at each state.

    log P(stop) is -inf where the stop is masked. Differentiable once, by the hidden states.
    """
    out = _ActionLogProbs.apply(hidden, head, constraints, step, actions)
    return cast(tuple[Tensor, Tensor], out)


class _ActionLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: ActionHead,
        constraints: Constraints,
        step: Tensor,
        actions: Actions,
    ) -> tuple[Tensor, Tensor]:
        keeps = ctx.needs_input_grad[0]
        parts = [
            _read_block(block, head, constraints, keeps=keeps)
            for block in _blocks(hidden, len(head.weight), step, actions)
        ]
        log_taken, log_pterm, *kept = (torch.cat(part) for part in zip(*parts, strict=True))
        if keeps:
            ctx.save_for_backward(step, actions.at, actions.column, *kept)
            ctx.head = head
            ctx.constraints = constraints
            ctx.dtype = hidden.dtype
        return log_taken, log_pterm

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        step, at, column, expected, slope_taken, slope_stop = ctx.saved_tensors
        constraints: Constraints = ctx.constraints
        weight: Tensor = ctx.head.weight
        grad_taken, grad_stop = grads
        # Where the stop is masked or forced, its log-probability is constant.
        is_free = (step >= constraints.min_len) & (step < constraints.max_len)
        grad_stop = grad_stop.masked_fill(~is_free, 0.0)
        total = grad_stop.index_put((at,), grad_taken, accumulate=True)
        dtype = grad_taken.dtype  # float32, also where the model is of half precision
        of_stop = (grad_stop * slope_stop)[:, None] * weight[-1].to(dtype)
        grad = of_stop - total[:, None] * expected.to(dtype)
        # Not index_add_: on a GPU its order of addition, and so its rounding, varies.
        along = (grad_taken * slope_taken)[:, None] * weight[column].to(dtype)
        grad.index_put_((at,), along, accumulate=True)
        return grad.to(ctx.dtype), None, None, None, None


@dataclass(frozen=True)
class _Block:
    hidden: Float[Tensor, "k d"]
    step: Int[Tensor, " k"]
    at: Int[Tensor, " n"]  # within the block
    column: Int[Tensor, " n"]


def _blocks(hidden: Tensor, n_actions: int, step: Tensor, actions: Actions) -> Iterator[_Block]:
    """Split the states, each with the actions taken at it."""
    size = BLOCK_STATES
    if hidden.device.type != "cpu":
        size = max(size, BLOCK_BYTES // (4 * n_actions))
    starts = list(range(0, len(hidden), size))
    ends = [*starts[1:], len(hidden)]
    cuts = actions.cuts([*starts, len(hidden)])
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        taken = slice(cuts[number], cuts[number + 1])
        yield _Block(
            hidden[start:end], step[start:end], actions.at[taken] - start, actions.column[taken]
        )


def _read_block(
    block: _Block, head: ActionHead, constraints: Constraints, *, keeps: bool
) -> tuple[Tensor, ...]:
    """log P of the block's actions and of the stop; if ``keeps``, what their gradient needs."""
    logits = head.logits(block.hidden)
    log_z = constraints.log_normalizer(logits, block.step)
    z_taken = logits[block.at, block.column]
    z_stop = logits[:, -1].clone()
    log_taken = z_taken - log_z[block.at]
    log_pterm = constraints.log_pterm(logits, log_z, block.step)
    if not keeps:
        return log_taken, log_pterm
    slope_taken = torch.ones_like(z_taken) * head.slope(z_taken)
    slope_stop = torch.ones_like(z_stop) * head.slope(z_stop)
    expected = _expected_row(logits, log_z, block.step, head, constraints)
    return log_taken, log_pterm, expected, slope_taken, slope_stop


def _expected_row(
    logits: Float[Tensor, "k a"],
    log_z: Float[Tensor, " k"],
    step: Int[Tensor, " k"],
    head: ActionHead,
    constraints: Constraints,
) -> Float[Tensor, "k d"]:
    """Σ_c P(c) s_c W_c at each state; the probabilities are written over the logits."""
    slope = head.slope(logits)
    p = _probabilities_(logits, log_z, step, constraints)
    if isinstance(slope, Tensor):
        p.mul_(slope)
        return head.mean_row_(p)
    return head.mean_row_(p) * slope


def _probabilities_(
    logits: Float[Tensor, "k a"], log_z: Tensor, step: Tensor, constraints: Constraints
) -> Float[Tensor, "k a"]:
    """P of every action, written over the logits; 0 for all where the stop is forced."""
    must_stop = step >= constraints.max_len
    p = logits.sub_(log_z.masked_fill(must_stop, torch.inf)[:, None]).exp_()
    p[:, -1].masked_fill_(step < constraints.min_len, 0.0)
    return p
