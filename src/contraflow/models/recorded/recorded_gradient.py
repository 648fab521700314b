"""A pass over token trees of one shape that is learned from: a forward and a backward recording.

What the forward recording keeps for the backward one lies in memory that both share with the
recordings of other shapes. Whoever replays another forward pass in between writes over it.
`Turns` counts replays, so that a backward pass knows, and then replays its forward pass first.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import DynamicCache

from contraflow.models.attention.shared_prefix import PrefixCache
from contraflow.models.capture import captured_in_turn
from contraflow.models.causal_lm import CausalLM
from contraflow.models.recorded.recorded_tree import (
    another,
    largest,
    load,
    n_bytes,
    relative_difference,
)
from contraflow.models.token_tree import TokenTree


class Turns:
    """Numbers the replays that write to one memory."""

    def __init__(self) -> None:
        self.now = 0

    def next(self) -> int:
        """Begin a replay; return its number."""
        self.now += 1
        return self.now


class RecordedGradient:
    """A pass with a gradient over trees of one shape, by the weights that require one now.

    Raises: CaptureFailed.
    """

    def __init__(
        self, lm: CausalLM, prefix: PrefixCache, tree: TokenTree, turns: Turns, pool: Any
    ) -> None:
        self._lm = lm
        self._prefix = prefix
        self._weights = [p for p in lm.model.parameters() if p.requires_grad]
        self._turns = turns
        self._tree = another(tree)
        shape = (tree.ids.numel(), lm.hidden_size)
        self._grad_out = torch.zeros(shape, dtype=lm.head.weight.dtype, device=lm.device)
        self._out = self._grad_out
        self._grads: list[Tensor | None] = []  # None for a weight that the pass does not use
        steps = (self._step_forward, self._step_backward)
        self._forward, self._backward = captured_in_turn(steps, lm.device, pool)
        self.pool = self._backward.pool

    @property
    def out_bytes(self) -> int:
        grads = (grad for grad in self._grads if grad is not None)
        return n_bytes((self._out, self._grad_out, *grads))

    def _step_forward(self) -> None:
        with torch.enable_grad():
            self._out = self._lm.tree_hidden(self._prefix, self._tree)

    def _step_backward(self) -> None:
        found = torch.autograd.grad(self._out, self._weights, self._grad_out, allow_unused=True)
        self._grads = list(found)
        self._out = self._out.detach()

    def hidden(self, tree: TokenTree, cache: DynamicCache | None) -> Float[Tensor, "m d"]:
        """The last hidden states by flat node, differentiable once by the weights."""
        assert cache is None
        out: Tensor = _Replayed.apply(self, tree, *self._weights)
        return out

    def check(self, tree: TokenTree) -> float:
        """The largest relative difference of states and gradients from those of the pass."""
        rng = torch.Generator(self._grad_out.device).manual_seed(0)
        along = torch.empty_like(self._grad_out).normal_(generator=rng)
        plain = self._lm.tree_hidden(self._prefix, tree)
        wanted = [plain, *torch.autograd.grad(plain, self._weights, along, allow_unused=True)]
        replayed = self.hidden(tree, None)
        found = [replayed, *torch.autograd.grad(replayed, self._weights, along, allow_unused=True)]
        # All gradients as one vector: those of a young adapter's one half are nearly 0.
        gradients = [
            torch.cat([x.flatten() for x in side[1:] if x is not None])[None]
            for side in (found, wanted)
        ]
        return largest([relative_difference(replayed, plain), relative_difference(*gradients)])

    def run_forward(self, tree: TokenTree) -> int:
        """Replay the forward pass; return the number of its turn."""
        load(self._tree, tree)
        turn = self._turns.next()
        self._forward.run()
        return turn

    def states(self) -> Float[Tensor, "m d"]:
        """What the forward pass has found, in memory of its own."""
        return self._out.detach().clone()

    def run_backward(
        self, tree: TokenTree, turn: int, grad: Float[Tensor, "m d"]
    ) -> list[Tensor | None]:
        """Replay the backward pass of a turn; return the gradients of the weights."""
        if self._turns.now != turn:
            self.run_forward(tree)
        self._turns.next()  # a backward pass overwrites what the forward pass has kept
        self._grad_out.copy_(grad)
        self._backward.run()
        grads = [grad for grad in self._grads if grad is not None]
        copies = [torch.empty_like(x) for x in grads]
        torch._foreach_copy_(copies, grads)
        rest = iter(copies)
        return [None if grad is None else next(rest) for grad in self._grads]

    @property
    def versions(self) -> tuple[int, ...]:
        """Change when a weight is changed in place."""
        return tuple(weight._version for weight in self._weights)


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, recording: RecordedGradient, tree: TokenTree, *_weights: Tensor
    ) -> Tensor:
        ctx.recording = recording
        ctx.tree = tree
        ctx.versions = recording.versions
        ctx.turn = recording.run_forward(tree)
        return recording.states()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        recording: RecordedGradient = ctx.recording
        if recording.versions != ctx.versions:
            raise RuntimeError(
                "a weight was changed between a forward pass and its backward pass, so the "
                "gradient would be that of other weights"
            )
        return (None, None, *recording.run_backward(ctx.tree, ctx.turn, grad))
