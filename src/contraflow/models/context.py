"""Rows that are being decoded eagerly: the keys and values that the next token of each attends to.

The cache has room for the tokens to come, so that decoding writes in place and rows can branch or
leave. `prefilled.py` makes it from prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from contraflow.models.attention.shared_prefix import PrefixCache


@dataclass
class Context:
    """A batch of rows: what the next token of each row attends to."""

    prefix: PrefixCache  # the constant text before every row; its keys are shared, not copied
    cache: DynamicCache
    mask: Int[Tensor, "b k"]  # 1 where a cached position is real, 0 for padding
    last_hidden: Float[Tensor, "b d"]  # at the last token of each row

    def next_positions(self, n_tokens: int) -> Int[Tensor, "b n"]:
        """Return the position ids of the next n tokens."""
        return next_positions(self.prefix, self.mask, n_tokens)

    def keep(self, rows: Int[Tensor, " n"]) -> None:
        """Replace the rows by `rows`; a row that branches is listed twice."""
        for layer in self.cache.layers:
            cast(PreallocatedLayer, layer).keep(rows)
        self.mask = self.mask[rows]
        self.last_hidden = self.last_hidden[rows]


def next_positions(
    prefix: PrefixCache, mask: Int[Tensor, "b k"], n_tokens: int
) -> Int[Tensor, "b n"]:
    """Return the position ids of n tokens after a prefix and the real positions of each row."""
    start = prefix.length + mask.sum(1, keepdim=True)
    return start + torch.arange(n_tokens, device=mask.device)


class PreallocatedLayer(DynamicLayer):
    """A cache layer with room for more tokens; the stock layer copies all keys for every token."""

    def __init__(
        self, keys: Float[Tensor, "b h s d"], values: Float[Tensor, "b h s d"], room: int
    ) -> None:
        super().__init__()
        self.dtype = keys.dtype
        self.device = keys.device
        self.is_initialized = True
        batch, heads, length, dim = keys.shape
        self._key_buffer = keys.new_empty(batch, heads, length + room, dim)
        self._value_buffer = values.new_empty(batch, heads, length + room, values.shape[-1])
        self._key_buffer[:, :, :length] = keys
        self._value_buffer[:, :, :length] = values
        self._set_length(length)

    def _set_length(self, length: int) -> None:
        self.keys = self._key_buffer[:, :, :length]
        self.values = self._value_buffer[:, :, :length]

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        self._key_buffer[:, :, start:end] = key_states
        self._value_buffer[:, :, start:end] = value_states
        self._set_length(end)
        return self.keys, self.values

    def keep(self, rows: Tensor) -> None:
        """Replace the rows by `rows`."""
        length = self.keys.shape[-2]
        self._key_buffer = self._key_buffer[rows]
        self._value_buffer = self._value_buffer[rows]
        self._set_length(length)
