"""Prefilled prompts: the keys and values that the next token of each row attends to.

`Context.for_decoding` makes room for the tokens to come, so that decoding writes in place and
rows can branch or leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from contraflow.models.attention import PrefixCache
from contraflow.models.token_tree import TokenTree


@dataclass
class Context:
    """A batch of prefilled prompts: what the next token of each row attends to."""

    prefix: PrefixCache  # the constant text before every row; its keys are shared, not copied
    cache: DynamicCache
    mask: Int[Tensor, "b k"]  # 1 where a cached position is real, 0 for padding
    last_hidden: Float[Tensor, "b d"]  # at the last token of each row

    @classmethod
    def of_tree(
        cls,
        prefix: PrefixCache,
        tree: TokenTree,
        packed: DynamicCache,
        last_hidden: Float[Tensor, "b d"],
    ) -> Context:
        """Give each sequence of a token tree a row of its own, padded on the left.

        `packed`: the keys and values of the tree, by flat node.
        """
        width = tree.paths.shape[1]
        column = torch.arange(width, device=tree.paths.device) - (width - tree.lengths[:, None])
        nodes = tree.paths.gather(1, column.clamp(min=0))
        cache = DynamicCache()
        for number, layer in enumerate(packed.layers):
            cache.update(_unpack(layer.keys, nodes), _unpack(layer.values, nodes), number)
        return cls(prefix, cache, (column >= 0).long(), last_hidden)

    def next_positions(self, n_tokens: int) -> Int[Tensor, "b n"]:
        """Return the position ids of the next n tokens."""
        start = self.prefix.length + self.mask.sum(1, keepdim=True)
        return start + torch.arange(n_tokens, device=self.mask.device)

    def for_decoding(self, index: Int[Tensor, " n"], n_tokens: int) -> Context:
        """Copy the rows `index`, with room for n more tokens.

        Decoding then writes the cache in place, so no gradient passes through it.
        """
        cache = DynamicCache()
        cache.layers = [
            _PreallocatedLayer(layer.keys[index], layer.values[index], n_tokens)
            for layer in self.cache.layers
        ]
        return Context(self.prefix, cache, self.mask[index], self.last_hidden[index])

    def keep(self, rows: Int[Tensor, " n"]) -> None:
        """Replace the rows of a decoding context by `rows`; a row that branches is listed twice."""
        for layer in self.cache.layers:
            cast(_PreallocatedLayer, layer).keep(rows)
        self.mask = self.mask[rows]
        self.last_hidden = self.last_hidden[rows]


class _PreallocatedLayer(DynamicLayer):
    """A cache layer with room for more tokens; the stock layer copies all keys for every token."""

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
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
        length = self.keys.shape[-2]
        self._key_buffer = self._key_buffer[rows]
        self._value_buffer = self._value_buffer[rows]
        self._set_length(length)


def _unpack(
    states: Float[Tensor, "r h n d"], nodes: Int[Tensor, "b p"]
) -> Float[Tensor, "b h p d"]:
    """Gather the keys or values of packed rows into one row per sequence."""
    return states.transpose(1, 2).flatten(0, 1)[nodes].transpose(1, 2)
