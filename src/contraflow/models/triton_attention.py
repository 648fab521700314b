"""Attention of one token per row over [shared prefix | own keys], in two Triton kernels.

The first one reads the prefix once for sixteen queries, as a matrix product. The second one goes on
with its maximum, sum and mean over the keys of the row itself, up to the position written last:
later positions of the buffers are not read at all. Sums are in float32 (Milakov and Gimelshein
2018, "Online normalizer calculation for softmax").

This file is imported on a GPU only, where PyTorch brings Triton with it.
"""

# mypy: disable-error-code="import-not-found, no-untyped-def, untyped-decorator"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

QUERIES = 16  # rows of a matrix product: the fewest that tensor cores take
KEYS = 64


@triton.jit
def _over_prefix(
    q, keys, values, mean, top, total, n, length, scale, q_row, q_head,
    repeats: tl.constexpr, d: tl.constexpr, block_q: tl.constexpr, block_s: tl.constexpr,
    precision: tl.constexpr,
):  # fmt: skip
    """Write the mean [b h d] of the prefix's values, the top scores [b h] and their sums [b h]."""
    group = tl.program_id(1)
    number = tl.program_id(0) * block_q + tl.arange(0, block_q)  # of n = b * repeats queries
    row = number // repeats
    head = group * repeats + number % repeats
    real = number < n
    dims = tl.arange(0, d)
    at_query = q + row[:, None] * q_row + head[:, None] * q_head + dims[None, :]
    query = tl.load(at_query, mask=real[:, None], other=0.0)
    largest = tl.full([block_q], -float("inf"), tl.float32)
    weight = tl.zeros([block_q], tl.float32)
    sums = tl.zeros([block_q, d], tl.float32)
    for first in range(0, length, block_s):
        position = first + tl.arange(0, block_s)
        there = position < length
        place = (group * length + position)[:, None] * d + dims[None, :]
        key = tl.load(keys + place, mask=there[:, None], other=0.0)
        value = tl.load(values + place, mask=there[:, None], other=0.0)
        score = tl.dot(query, tl.trans(key), input_precision=precision) * scale
        score = tl.where(there[None, :], score, -float("inf"))
        larger = tl.maximum(largest, tl.max(score, 1))
        p = tl.exp(score - larger[:, None])
        shrink = tl.exp(largest - larger)
        weight = weight * shrink + tl.sum(p, 1)
        product = tl.dot(p.to(value.dtype), value, input_precision=precision)
        sums = sums * shrink[:, None] + product
        largest = larger
    heads = tl.num_programs(1) * repeats
    place = row * heads + head
    tl.store(top + place, largest, mask=real)
    tl.store(total + place, weight, mask=real)
    tl.store(mean + place[:, None] * d + dims[None, :], sums, mask=real[:, None])


@triton.jit
def _over_own(
    q, keys, values, mask, index, mean, top, total, out, length, scale, q_row, q_head, m_row,
    repeats: tl.constexpr, d: tl.constexpr, block_s: tl.constexpr, has_prefix: tl.constexpr,
):  # fmt: skip
    """Write the attention [b h d] over the prefix's sums and the keys of each row."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    heads = tl.num_programs(1)
    dims = tl.arange(0, d)
    place = row * heads + head
    query = tl.load(q + row * q_row + head * q_head + dims).to(tl.float32) * scale
    if has_prefix:
        largest = tl.load(top + place)
        weight = tl.load(total + place)
        sums = tl.load(mean + place * d + dims)
    else:
        largest = -float("inf")
        weight = 0.0
        sums = tl.zeros([d], tl.float32)
    read = tl.load(index) + 1
    start = (row * (heads // repeats) + head // repeats) * length
    for first in range(0, read, block_s):
        position = first + tl.arange(0, block_s)
        there = position < read
        at = (start + position)[:, None] * d + dims[None, :]
        key = tl.load(keys + at, mask=there[:, None], other=0.0).to(tl.float32)
        value = tl.load(values + at, mask=there[:, None], other=0.0).to(tl.float32)
        hidden = tl.load(mask + row * m_row + position, mask=there, other=0.0).to(tl.float32)
        score = tl.sum(key * query[None, :], 1) + hidden
        score = tl.where(there, score, -float("inf"))
        larger = tl.maximum(largest, tl.max(score, 0))
        p = tl.exp(score - larger)
        shrink = tl.exp(largest - larger)
        weight = weight * shrink + tl.sum(p, 0)
        sums = sums * shrink + tl.sum(p[:, None] * value, 0)
        largest = larger
    tl.store(out + place * d + dims, (sums / weight).to(out.dtype.element_ty))


def decode_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
    index: Tensor,
    prefix_keys: Tensor | None,
    prefix_values: Tensor | None,
    scale: float,
) -> Tensor:
    """Attention of query [b h 1 d] over keys [b g s d] up to position index [1]; [b 1 h d].

    `mask` [b 1 1 s] is added to the scores; the prefix is [1 g p d]. Keys and values are
    contiguous.
    """
    b, h, _, d = query.shape
    g, s = keys.shape[1], keys.shape[2]
    if query.stride(3) != 1:
        query = query.contiguous()
    out = query.new_empty(b, 1, h, d)
    sums = query.new_empty(b, h, d, dtype=torch.float32)
    top = query.new_empty(b, h, dtype=torch.float32)
    total = torch.empty_like(top)
    strides = (query.stride(0), query.stride(1))
    shape: dict[str, Any] = {"repeats": h // g, "d": d, "block_s": KEYS}
    if prefix_keys is not None and prefix_values is not None:
        prefix_keys, prefix_values = prefix_keys.contiguous(), prefix_values.contiguous()
        n = b * (h // g)
        _over_prefix[(triton.cdiv(n, QUERIES), g)](
            query, prefix_keys, prefix_values, sums, top, total, n, prefix_keys.shape[2], scale,
            *strides, block_q=QUERIES, **shape,
            precision="ieee" if query.dtype == torch.float32 else "tf32",
        )  # fmt: skip
    _over_own[(b, h)](
        query, keys, values, mask, index, sums, top, total, out, s, scale, *strides,
        mask.stride(0), **shape, has_prefix=prefix_keys is not None,
    )  # fmt: skip
    return out
