"""Keys and values of a token tree, gathered into a block of all layers by one Triton kernel.

Each position reads the head of its node where the layer keeps it and writes it where the block
wants it, so that every byte moves once and no other memory is needed. Bits are copied, in pieces of
16 bytes, whatever the dtype.

This file is imported on a GPU only, where PyTorch brings Triton with it.
"""

# mypy: disable-error-code="import-not-found, no-untyped-def, untyped-decorator"
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.models.transfer import to_device

PIECE = 16  # bytes, the most that a thread loads at once: two words
WORD = 8
WORDS = 1024  # that a program copies


# All strides are in pieces: times two, the compiler knows that words are aligned in pairs.
@triton.jit(
    do_not_specialize=["count", "width", "to_layer", "to_row", "to_head", "to_column"],
)
def _gather(
    table, row, column, target, count, width, to_layer, to_row, to_head, to_column,
    words: tl.constexpr, padded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Copy one head of one layer at `block` of the positions: row, column [count]."""
    place = tl.program_id(0) * block + tl.arange(0, block)
    head = tl.program_id(1).to(tl.int64)
    layer = tl.program_id(2).to(tl.int64)
    word = tl.arange(0, padded)
    there = place < count
    real = there[:, None] & (word < words)[None, :]
    node_row = tl.load(row + place, mask=there, other=0)
    node_column = tl.load(column + place, mask=there, other=0)
    entry = table + layer * 4
    source = tl.multiple_of(tl.load(entry).to(tl.pointer_type(tl.int64)), 16)
    start = node_row * tl.load(entry + 1) + node_column * tl.load(entry + 3)
    start = (start + head * tl.load(entry + 2)) * 2
    found = tl.load(source + (start[:, None] + word[None, :]), mask=real, other=0)
    text = (place // width).to(tl.int64)
    position = (place % width).to(tl.int64)
    goal = (layer * to_layer + head * to_head + text * to_row + position * to_column) * 2
    tl.store(target + (goal[:, None] + word[None, :]), found, mask=real)


def gather(
    target: Float[Tensor, "k b h s d"],
    states: Sequence[Float[Tensor, "r h m d"]],
    row: Int[Tensor, "n w"],
    column: Int[Tensor, "n w"],
) -> bool:
    """Copy states[k][row[i, j], :, column[i, j]] to target[k, i, :, j] for all k, i < n and j < w.

    Returns False, with nothing done, where the kernel cannot: k states of one shape, with the
    dtype, heads and device of the target, n <= b, w <= s, heads whole and at multiples of 16 bytes.

    Nothing waits for the copy. It is queued on the present stream, and memory that is freed later
    is used again by later work of this stream only: the caller need not keep the states.
    """
    sources = _places(states)
    goal = _places([target])
    if sources is None or goal is None or not _alike(target, states, row):
        return False
    words = target.shape[4] * target.element_size() // WORD
    padded = triton.next_power_of_2(words)
    block = max(1, WORDS // padded)
    grid = (triton.cdiv(row.numel(), block), target.shape[2], len(states))
    table = to_device(torch.from_numpy(sources), target.device)
    with torch.cuda.device_of(target):
        _gather[grid](
            table, row.contiguous(), column.contiguous(), target.view(torch.int64), row.numel(),
            row.shape[1], *goal[0, 1:].tolist(), words=words, padded=padded, block=block,
        )  # fmt: skip
    return True


def _places(tensors: Sequence[Tensor]) -> Int[np.ndarray, "k f"] | None:
    """The address of each tensor, and its strides but the last in pieces; None if not aligned."""
    size = tensors[0].element_size()
    places = np.array([[x.data_ptr(), *x.stride()[:-1]] for x in tensors], dtype=np.int64)
    places[:, 1:] *= size
    if (places % PIECE).any() or any(x.stride(-1) != 1 for x in tensors):
        return None
    places[:, 1:] //= PIECE
    return places


def _alike(target: Tensor, states: Sequence[Tensor], row: Tensor) -> bool:
    """Whether states and positions fit the target, and heads consist of pieces."""
    k, b, h, s, d = target.shape
    n, width = row.shape
    first = states[0]
    return (
        (len(states), first.shape[1], first.shape[3]) == (k, h, d)
        and n <= b
        and width <= s
        and d * target.element_size() % PIECE == 0
        and all(x.shape == first.shape for x in states)
        and all(x.dtype == target.dtype and x.device == target.device for x in states)
    )
