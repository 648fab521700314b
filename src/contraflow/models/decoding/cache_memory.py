"""Memory for the keys and values of all layers, in blocks that are loaded at once.

Loading the prompts layer by layer takes the host twenty operations for each. The keys of one shape,
usually those of all layers, are one block instead, and so are the values, which takes a few in all.
On a GPU one kernel fills a block (`triton_keys.py`), which takes no memory beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from transformers import DynamicCache

from contraflow.models.layers.step_layers import first_line
from contraflow.system.progress import print_plain

MOST_BYTES = 1 << 28  # copied at once, beside the block, where no kernel fills it


class CopiedWrong(Exception):
    """The kernel's copy is not that of the operations."""


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


Gather = Callable[[Tensor, Sequence[LayerStates], Tensor, Tensor], bool]


def triton_gather() -> Gather:
    """Return the kernel. Raises: whatever the import of Triton raises."""
    from contraflow.models.attention import triton_keys

    return triton_keys.gather


class FusedGather:
    """Fills a block by a kernel, until the kernel fails once.

    The first copy of each dtype and head size is compared with that of the operations.

    load: returns the kernel, as `triton_keys.gather`; device_type: where it is used.
    """

    def __init__(self, load: Callable[[], Gather], device_type: str = "cuda") -> None:
        self._load = load
        self._device_type = device_type
        self._compared: set[tuple[torch.device, torch.dtype, int]] = set()
        self.failed = False

    @property
    def fills(self) -> bool:
        """Whether the kernel has filled a block, as the operations would."""
        return bool(self._compared) and not self.failed

    def fill(
        self,
        block: Block,
        states: Sequence[LayerStates],
        row: Int[Tensor, "n w"],
        column: Int[Tensor, "n w"],
    ) -> bool:
        """Copy the nodes at [row, column] of the states to the block; False: it is still to do."""
        if self.failed or block.states.device.type != self._device_type:
            return False
        try:
            filled = self._load()(block.states, states, row, column)
            if filled:
                self._compare(block.states, states, row, column)
            return filled
        except torch.OutOfMemoryError:
            raise
        # Whatever Triton or a C compiler raises.
        except Exception as error:
            self._decline(error)
            return False

    def _compare(
        self,
        target: Float[Tensor, "k b h s d"],
        states: Sequence[LayerStates],
        row: Int[Tensor, "n w"],
        column: Int[Tensor, "n w"],
    ) -> None:
        """Compare the last layer bit for bit, once. Waits for a GPU. Raises: CopiedWrong."""
        key = (target.device, target.dtype, target.shape[4])
        if key in self._compared:
            return
        n, width = row.shape
        wanted = _taken(states[-1][None], row, column)[0]
        if not torch.equal(_bits(target[-1, :n, :, :width]), _bits(wanted)):
            raise CopiedWrong("it copies other keys than they do")
        self._compared.add(key)

    def _decline(self, error: Exception) -> None:
        self.failed = True
        print_plain(
            "keys of prompts are copied by several operations, more slowly, as one Triton kernel "
            f"cannot do it here ({first_line(error)})"
        )


def _taken(
    states: Float[Tensor, "k r h m d"], row: Int[Tensor, "n w"], column: Int[Tensor, "n w"]
) -> Float[Tensor, "k n h w d"]:
    """The states of the nodes at [row, column]."""
    found: Tensor = states[:, row, :, column]  # [n w k h d]
    return found.permute(2, 0, 3, 1, 4)


def _bits(tensor: Tensor) -> UInt8[Tensor, "*s bytes"]:
    return tensor.contiguous().view(torch.uint8)


FUSED = FusedGather(triton_gather)  # one for the process: Triton fails for all models alike


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
        for block in blocks:
            states = [self.states[number] for number in block.numbers]
            if not FUSED.fill(block, states, self.row, self.column):
                self._write_parts(block)

    def _write_parts(self, block: Block) -> None:
        n, width = self.row.shape
        for some in self._parts(block):
            packed = torch.cat([self.states[number] for number in block.numbers[some]])
            packed = packed.unflatten(0, (-1, len(self.states[0])))
            block.states[some, :n, :, :width] = _taken(packed, self.row, self.column)

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
