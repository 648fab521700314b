"""Token-by-token decoding from prefilled prompts: the interface and the eager decoder.

`EagerDecoder` keeps one row per distinct state, drops finished rows and copies keys when rows
move. `StaticDecoder` (`static_decoding.py`) keeps shapes and addresses fixed, as a CUDA graph
requires. The caller reads `logits`, chooses tokens, and passes those of the unfinished texts to
`advance`. Both decoders return the same logits up to rounding.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.models.causal_lm import CausalLM
from contraflow.models.prefilled import Prefilled


class Decoder(Protocol):
    """The states of the texts being written; texts in the same state may share a row."""

    def logits(self) -> Float[Tensor, "r a"]:
        """Return the logits of the next token for every row. The caller may overwrite them."""
        ...

    def advance(self, row: Int[Tensor, " n"], token: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Append `token[i]` to the text at `row[i]`; texts that are not listed are finished.

        Returns the row of each of the n texts after the step.
        """
        ...


class EagerDecoder:
    """Computes each state once, however many texts share it, and drops rows without texts."""

    def __init__(
        self, lm: CausalLM, context: Prefilled, n_tokens: int, actions: Int[Tensor, " a"] | None
    ) -> None:
        self._lm = lm
        self._actions = actions
        rows = torch.arange(len(context.mask), device=lm.device)
        self._context = context.for_decoding(rows, n_tokens)

    def logits(self) -> Float[Tensor, "r a"]:
        return self._lm.logits(self._context.last_hidden, self._actions)

    def advance(self, row: Int[Tensor, " n"], token: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        # A state is a (row, token) pair, encoded as one integer so that `unique` can merge them.
        vocabulary_size = self._lm.head.weight.shape[0]
        states, new_row = torch.unique(row * vocabulary_size + token, return_inverse=True)
        parents = states // vocabulary_size
        tokens = states % vocabulary_size
        if len(parents) != len(self._context.mask) or bool((parents.diff() != 1).any()):
            self._context.keep(parents)
        self._context.last_hidden = self._lm.hidden(tokens[:, None], self._context)[:, -1]
        return cast(Tensor, new_row)
