"""The Triton kernel that gathers keys against PyTorch's indexing: on a GPU, or by the interpreter.

PyTorch for CPUs comes without Triton. With it, `TRITON_INTERPRET=1 pytest` runs these tests there.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from contraflow.models.decoding import cache_memory
from contraflow.models.decoding.cache_memory import CacheMemory, FusedGather, PackedKeys
from contraflow.models.prefilled import cache_of_one_pass

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None
    or not (torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"),
    reason="needs a GPU, or Triton and TRITON_INTERPRET=1",
)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

SHAPES = {  # layers, rows, heads, nodes of the tree; head size, block [b s], positions [n w]
    "all of the block": (3, 4, 2, 9, 64, (8, 32), (8, 32)),
    "fewer rows and positions": (2, 3, 3, 7, 32, (8, 32), (5, 11)),
    "a size that is no power of two": (2, 2, 2, 5, 80, (4, 8), (3, 8)),
    "small heads": (2, 1, 4, 6, 16, (8, 16), (7, 3)),
    "large heads": (1, 2, 1, 3, 128, (8, 16), (6, 15)),
    "one position": (2, 1, 2, 1, 16, (8, 32), (1, 1)),
}


def tree_layer(rng: torch.Generator, r: int, h: int, m: int, d: int, dtype: torch.dtype) -> Tensor:
    """Keys as GPT-2 makes them: a part of one product, heads beside each other; [r h m d]."""
    product = torch.randn(r, m, 3 * h * d, generator=rng)
    return product.to(DEVICE, dtype)[..., h * d : 2 * h * d].view(r, m, h, d).transpose(1, 2)


def nodes_of(rng: torch.Generator, n_nodes: int, shape: tuple[int, int]) -> Tensor:
    return torch.randint(0, n_nodes, shape, generator=rng).to(DEVICE)


def indexed(target: Tensor, states: list[Tensor], row: Tensor, column: Tensor) -> Tensor:
    """The target with the states of the nodes written into it."""
    target = target.clone()
    n, width = row.shape
    for layer, found in zip(target, states, strict=True):
        layer[:n, :, :width] = found[row, :, column].transpose(1, 2)
    return target


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
def test_the_kernel_writes_the_bits_that_indexing_writes(name: str, dtype: torch.dtype) -> None:
    from contraflow.models.attention import triton_keys

    k, r, h, m, d, (b, s), (n, w) = SHAPES[name]
    rng = torch.Generator().manual_seed(len(name))
    states = [tree_layer(rng, r, h, m, d, dtype) for _ in range(k - 1)]
    states.append(torch.randn(r, h, m, d, generator=rng).to(DEVICE, dtype))  # other strides
    nodes = nodes_of(rng, r * m, (n, w))
    # Everything before and after, and between the layers of the block, has to stay as it is.
    memory = torch.randn(k, b * h * s * d + 48, generator=rng).to(DEVICE, dtype)
    target = memory[:, 16:-32].view(k, b, h, s, d)
    expected = memory.clone()
    expected[:, 16:-32] = indexed(target, states, nodes // m, nodes % m).flatten(1)
    assert triton_keys.gather(target, states, nodes // m, nodes % m)
    assert torch.equal(memory.view(torch.uint8), expected.view(torch.uint8))


def test_bits_that_are_no_number_are_copied_as_they_are() -> None:
    from contraflow.models.attention import triton_keys

    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16).view(4, 2, 128, 64)
    states = bits.view(torch.bfloat16).to(DEVICE)  # all numbers, infinities and NaN of bfloat16
    row = torch.arange(4, device=DEVICE)[:, None].expand(4, 128)
    column = torch.arange(128, device=DEVICE).expand(4, 128)
    target = torch.zeros(1, 4, 2, 128, 64, dtype=torch.bfloat16, device=DEVICE)
    assert triton_keys.gather(target, [states], row, column)
    assert torch.equal(target[0].view(torch.int16).cpu(), bits)


def unfit(name: str, target: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """A target [1 4 2 8 16] and states [2 2 5 16] that the kernel must refuse."""
    wide = torch.zeros(2, 2, 5, 32, device=DEVICE)
    return {
        "rows": (target[:, :2], states),
        "positions": (target[:, :, :, :3], states),
        "layers": (target, states * 2),
        "heads": (target[:, :, :1], states),
        "dtype": (target, [states[0].bfloat16()]),
        "dense": (target, [wide[..., ::2]]),
        "aligned": (target, [wide[..., 1:17]]),
        "strides": (target, [wide[..., :17].contiguous()[..., :16]]),
        "pieces": (target[..., :14], [states[0][..., :14]]),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["rows", "positions", "layers", "heads", "dtype", "dense", "aligned", "strides", "pieces"],
)
def test_layouts_it_cannot_copy_are_refused_untouched(name: str) -> None:
    from contraflow.models.attention import triton_keys

    target = torch.zeros(1, 4, 2, 8, 16, device=DEVICE)
    nodes = nodes_of(torch.Generator().manual_seed(1), 10, (3, 4))
    states = [torch.ones(2, 2, 5, 16, device=DEVICE)]
    assert triton_keys.gather(target, states, nodes // 5, nodes % 5)
    target.zero_()
    assert not triton_keys.gather(*unfit(name, target, states), nodes // 5, nodes % 5)
    assert not target.any()


def tree_cache(value_dims: tuple[int, ...]) -> DynamicCache:
    """Keys of 16, values of each width, in three rows of seven nodes with two heads."""
    cache = cache_of_one_pass()
    rng = torch.Generator().manual_seed(4)
    for number, dim in enumerate(value_dims):
        keys = tree_layer(rng, 3, 2, 7, 16, torch.float32)
        cache.update(keys, tree_layer(rng, 3, 2, 7, dim, torch.float32), number)
    return cache


# Heads of 18 are no pieces of 16 bytes: the kernel leaves that block to the other way.
@pytest.mark.parametrize("value_dims", [(16, 16), (16, 32, 16), (18, 16)])
def test_packed_keys_are_written_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch, value_dims: tuple[int, ...]
) -> None:
    cache = tree_cache(value_dims)
    nodes = nodes_of(torch.Generator().manual_seed(5), 21, (5, 4))
    states = []
    for device_type in ("none", DEVICE.type):
        fused = FusedGather(cache_memory.triton_gather, device_type)
        monkeypatch.setattr(cache_memory, "FUSED", fused)
        blocks = CacheMemory(cache, 8 * 32).blocks(8, 32)
        PackedKeys.of(cache, nodes).write_to(blocks)
        assert not fused.failed
        states.append([block.states for block in blocks])
    assert all(found.any() for found in states[0])
    assert all(torch.equal(*both) for both in zip(*states, strict=True))
