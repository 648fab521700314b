"""Token by token from a context: which rows there are, what comes next in each, and where their
tokens lead.

Two decoders with one contract. `EagerDecoder` keeps a row a state, lets finished rows leave and
copies keys when rows move; `StaticDecoder` (`static_decoding.py`) keeps shapes and addresses fixed,
which is what a CUDA graph needs. Whoever decodes reads `logits`, chooses, and tells `advance` the
tokens of those that go on; which decoder it was shows in nothing but time.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.models.causal_lm import CausalLM, Context


class Decoder(Protocol):
    """Where texts that are being written stand; several may stand at one row."""

    def logits(self) -> Float[Tensor, "r a"]:
        """Of the next token, for every row. The caller may write into it."""
        ...

    def advance(self, row: Int[Tensor, " n"], token: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Write a token behind each of the texts that go on, at the rows given; returns where they
        stand then.
        """
        ...


class EagerDecoder:
    """Each state once, however many texts reach it; states that nobody goes on from leave."""

    def __init__(
        self, lm: CausalLM, context: Context, n_tokens: int, actions: Int[Tensor, " a"] | None
    ) -> None:
        self._lm, self._actions = lm, actions
        rows = torch.arange(len(context.mask), device=lm.device)
        self._context = context.for_decoding(rows, n_tokens)

    def logits(self) -> Float[Tensor, "r a"]:
        return self._lm.logits(self._context.last_hidden, self._actions)

    def advance(self, row: Int[Tensor, " n"], token: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        size = self._lm.head.weight.shape[0]
        states, reached = torch.unique(row * size + token, return_inverse=True)
        kept, tokens = states // size, states % size
        if len(kept) != len(self._context.mask) or bool((kept.diff() != 1).any()):
            self._context.keep(kept)
        self._context.last_hidden = self._lm.hidden(tokens[:, None], self._context)[:, -1]
        return cast(Tensor, reached)
