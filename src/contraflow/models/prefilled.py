"""Prompts that have been read: what the first new token of each row attends to.

Keys and values stay where the pass over the token tree left them. `Prefilled.for_decoding` copies
those of each row for the eager decoder, and `static_step.py` gathers all layers' at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from contraflow.models.attention.shared_prefix import PrefixCache
from contraflow.models.context import Context, PreallocatedLayer, next_positions
from contraflow.models.token_tree import TokenTree


class _KeptLayer(DynamicLayer):
    """The keys and values of one pass as they are; the stock layer copies them."""

    def __init__(self) -> None:
        super().__init__()
        self._has_read = False

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if self._has_read:
            raise RuntimeError("the cache of a token tree is for one pass")
        self.dtype = key_states.dtype
        self.device = key_states.device
        self.keys = key_states
        self.values = value_states
        self.is_initialized = True
        self._has_read = True
        return key_states, value_states


def cache_of_one_pass() -> DynamicCache:
    """Return an empty cache that keeps what one pass makes, without a copy."""
    cache = DynamicCache()
    cache.layer_class_to_replicate = _KeptLayer
    return cache


@dataclass(frozen=True)
class Prefilled:
    """b prompts of up to p tokens, padded on the left.

    cache: keys and values of the token tree, [r heads n head_dim] for each layer.
    nodes: flat node (row * n + column) of the tree at each position; any node for padding.
    """

    prefix: PrefixCache  # the constant text before every row; its keys are shared, not copied
    cache: DynamicCache
    nodes: Int[Tensor, "b p"]
    mask: Int[Tensor, "b p"]  # 1 where a position is real, 0 for padding
    last_hidden: Float[Tensor, "b d"]  # at the last token of each row

    @classmethod
    def of_tree(
        cls,
        prefix: PrefixCache,
        tree: TokenTree,
        cache: DynamicCache,
        last_hidden: Float[Tensor, "b d"],
    ) -> Prefilled:
        """Give each sequence of a token tree a row of its own."""
        width = tree.paths.shape[1]
        column = torch.arange(width, device=tree.paths.device) - (width - tree.lengths[:, None])
        nodes = tree.paths.gather(1, column.clamp(min=0))
        return cls(prefix, cache, nodes, (column >= 0).long(), last_hidden)

    def next_positions(self, n_tokens: int) -> Int[Tensor, "b n"]:
        """Return the position ids of the next n tokens."""
        return next_positions(self.prefix, self.mask, n_tokens)

    def for_decoding(self, index: Int[Tensor, " n"], n_tokens: int) -> Context:
        """Copy the rows `index`, with room for n more tokens.

        Decoding then writes the cache in place, so no gradient passes through it.
        """
        nodes = self.nodes[index]
        cache = DynamicCache()
        cache.layers = [
            PreallocatedLayer(_unpack(layer.keys, nodes), _unpack(layer.values, nodes), n_tokens)
            for layer in self.cache.layers
        ]
        return Context(self.prefix, cache, self.mask[index], self.last_hidden[index])


def _unpack(
    states: Float[Tensor, "r h m d"], nodes: Int[Tensor, "b p"]
) -> Float[Tensor, "b h p d"]:
    """Gather the keys or values of packed rows into one row per sequence."""
    return states.transpose(1, 2).flatten(0, 1)[nodes].transpose(1, 2)
