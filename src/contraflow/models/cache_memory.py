"""Memory for the keys and values of all layers, in blocks that are loaded at once.

Loading the prompts layer by layer takes the host twenty operations for each. The keys of one shape,
usually those of all layers, are one block instead, and so are the values, which takes a few in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

MOST_BYTES = 1 << 28  # copied at once, beside the block

LayerStates = Float[Tensor, "r h m d"]  # keys or values of a layer


def layer_states(cache: DynamicCache) -> list[LayerStates]:
    """Return keys and values in turn, layer by layer: keys of layer i are number 2 i."""
    return [states for layer in cache.layers for states in (layer.keys, layer.values)]


@dataclass(frozen=True)
class Block:
    """Keys, or values, of one shape: those of `layer_states` with these numbers."""

    numbers: tuple[int, ...]
    states: Float[Tensor, "k n h s d"]


class KeySource(Protocol):
    """Keys and values of n rows of w positions."""

    def write_to(self, blocks: Sequence[Block]) -> None:
        """Copy them to the first n rows and w positions."""
        ...


class CacheMemory:
    """Memory for so many positions of every layer, shared by the steps of all sizes."""

    def __init__(self, like: DynamicCache, positions: int) -> None:
        self.positions = positions
        # Keys and values of a layer are in two blocks: where a compiler finds its inputs in one
        # memory, it checks whether they overlap.
        numbers: dict[tuple[bool, int, int], list[int]] = {}
        all_states = layer_states(like)
        for number, states in enumerate(all_states):
            is_keys = number % 2 == 0
            numbers.setdefault((is_keys, states.shape[1], states.shape[3]), []).append(number)
        # Zeros, as masked values are multiplied by 0 and uninitialized memory may hold NaN.
        self._flat = [
            (h, d, tuple(some), all_states[0].new_zeros(len(some), positions * h * d))
            for (_, h, d), some in numbers.items()
        ]

    def blocks(self, rows: int, length: int) -> list[Block]:
        """View the start of the memory as rows of a length."""
        found = []
        for h, d, numbers, flat in self._flat:
            states = flat[:, : rows * h * length * d].view(len(numbers), rows, h, length, d)
            found.append(Block(numbers, states))
        return found


@dataclass(frozen=True)
class PackedKeys:
    """Keys and values of a token tree, and the node of the tree at each position."""

    states: list[LayerStates]
    row: Int[Tensor, "n w"]
    column: Int[Tensor, "n w"]

    @classmethod
    def of(cls, cache: DynamicCache, nodes: Int[Tensor, "n w"]) -> PackedKeys:
        """`nodes`: flat, row * m + column."""
        states = layer_states(cache)
        m = states[0].shape[2]
        return cls(states, nodes // m, nodes % m)

    def write_to(self, blocks: Sequence[Block]) -> None:
        n, width = self.row.shape
        for block in blocks:
            for some in self._parts(block):
                packed = torch.cat([self.states[number] for number in block.numbers[some]])
                packed = packed.unflatten(0, (-1, len(self.states[0])))
                found = packed[:, self.row, :, self.column]  # [n w k h d]
                block.states[some, :n, :, :width] = found.permute(2, 0, 3, 1, 4)

    def _parts(self, block: Block) -> Iterator[slice]:
        """Split a block so that neither the packed nor the gathered states take too much memory."""
        r, h, m, d = self.states[block.numbers[0]].shape
        each = max(r * m, self.row.numel()) * h * d * block.states.element_size()
        at_once = max(1, MOST_BYTES // each)
        for start in range(0, len(block.numbers), at_once):
            yield slice(start, start + at_once)


@dataclass(frozen=True)
class SavedKeys:
    """A copy of the first positions of some rows of all blocks."""

    states: list[Float[Tensor, "k n h w d"]]

    @classmethod
    def of(cls, blocks: Sequence[Block], row: Int[Tensor, " n"], width: int) -> SavedKeys:
        return cls([block.states[:, row, :, :width] for block in blocks])

    def write_to(self, blocks: Sequence[Block]) -> None:
        for block, states in zip(blocks, self.states, strict=True):
            n, width = states.shape[1], states.shape[3]
            block.states[:, :n, :, :width] = states
