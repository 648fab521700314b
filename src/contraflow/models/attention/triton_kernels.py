"""Triton kernels of the attention of one token per row; see `triton_attention.py`.

Sums are in float32, and go on from block to block (Milakov and Gimelshein 2018, "Online normalizer
calculation for softmax"). This file is imported on a GPU only.
"""

# mypy: disable-error-code="import-not-found, no-untyped-def, untyped-decorator"
from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

# Less than every score of a visible key, more than that of a masked one, and finite: the
# difference of two infinite scores is no number.
LOWEST = tl.constexpr(-1e30)


@triton.jit
def _attend(query, key, value, bias, largest, weight, sums, scale, precision: tl.constexpr):
    """Go on with the maximum, the sum and the weighted values [q d] over a block of keys [s d]."""
    score = tl.dot(query, tl.trans(key), input_precision=precision) * scale + bias[None, :]
    larger = tl.maximum(largest, tl.max(score, 1))
    p = tl.exp(score - larger[:, None])
    shrink = tl.exp(largest - larger)
    weight = weight * shrink + tl.sum(p, 1)
    product = tl.dot(p.to(value.dtype), value, input_precision=precision)
    return larger, weight, sums * shrink[:, None] + product


@triton.jit
def _attend_to_all(
    query, keys, values, length, largest, weight, sums, scale,
    d: tl.constexpr, block_s: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """The same over so many keys, which every row sees."""
    dims = tl.arange(0, d)
    for first in range(0, length, block_s):
        position = first + tl.arange(0, block_s)
        there = position < length
        at = position[:, None] * d + dims[None, :]
        key = tl.load(keys + at, mask=there[:, None], other=0.0)
        value = tl.load(values + at, mask=there[:, None], other=0.0)
        bias = tl.where(there, 0.0, -float("inf"))
        largest, weight, sums = _attend(
            query, key, value, bias, largest, weight, sums, scale, precision
        )
    return largest, weight, sums


@triton.jit
def _joined(largest, weight, sums, other, other_weight, other_sums):
    """The maximum [q], the sum and the weighted values [q d] of two sets of keys."""
    larger = tl.maximum(largest, other)
    shrink = tl.exp(largest - larger)
    grow = tl.exp(other - larger)
    weight = weight * shrink + other_weight * grow
    return larger, weight, sums * shrink[:, None] + other_sums * grow[:, None]


@triton.jit
def over_prefix(
    q, keys, values, mean, top, total, n, length, scale, q_row, q_head,
    repeats: tl.constexpr, d: tl.constexpr, block_q: tl.constexpr, block_s: tl.constexpr,
    precision: tl.constexpr, beside: tl.constexpr,
):  # fmt: skip
    """Write the sums [b h d] of the prefix's values, the top scores [b h] and their sums [b h]."""
    if beside:
        gdc_launch_dependents()
    group = tl.program_id(1)
    number = tl.program_id(0) * block_q + tl.arange(0, block_q)  # of n = b * repeats queries
    row = number // repeats
    head = group * repeats + number % repeats
    real = number < n
    dims = tl.arange(0, d)
    at_query = q + row[:, None] * q_row + head[:, None] * q_head + dims[None, :]
    query = tl.load(at_query, mask=real[:, None], other=0.0)
    largest = tl.full([block_q], LOWEST, tl.float32)
    weight = tl.zeros([block_q], tl.float32)
    sums = tl.zeros([block_q, d], tl.float32)
    keys += group * length * d
    values += group * length * d
    largest, weight, sums = _attend_to_all(
        query, keys, values, length, largest, weight, sums, scale, d, block_s, precision
    )
    heads = tl.num_programs(1) * repeats
    place = row * heads + head
    tl.store(top + place, largest, mask=real)
    tl.store(total + place, weight, mask=real)
    tl.store(mean + place[:, None] * d + dims[None, :], sums, mask=real[:, None])


@triton.jit
def own_by_products(
    q, new_key, new_value, keys, values, mask, index, prefix_keys, prefix_values,
    mean, top, total, out, length, prefix_length, scale,
    q_row, q_head, k_row, k_head, v_row, v_head, m_row,
    repeats: tl.constexpr, d: tl.constexpr, block_q: tl.constexpr, block_s: tl.constexpr,
    prefix_by: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Write the attention [b h d] over the prefix and the keys of each row; one key head each."""
    row = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1)
    start = (row * tl.num_programs(1) + group) * length * d
    keys += start
    values += start
    mask += row * m_row
    last = tl.load(index).to(tl.int32)
    number = tl.arange(0, block_q)
    real = number < repeats
    head = group * repeats + number
    dims = tl.arange(0, d)
    at_query = q + row * q_row + head[:, None] * q_head + dims[None, :]
    query = tl.load(at_query, mask=real[:, None], other=0.0)
    key_now = tl.load(new_key + row * k_row + group * k_head + dims)
    value_now = tl.load(new_value + row * v_row + group * v_head + dims)
    largest = tl.full([block_q], LOWEST, tl.float32)
    weight = tl.zeros([block_q], tl.float32)
    sums = tl.zeros([block_q, d], tl.float32)
    block = tl.arange(0, block_s)
    # Read one block ahead: the loop waits for keys, not for the mask after them.
    bias = tl.load(mask + block, mask=block < last, other=-float("inf"))
    for first in range(0, last, block_s):
        position = first + block
        at = position[:, None] * d + dims[None, :]
        key = tl.load(keys + at, mask=(position < last)[:, None], other=0.0)
        value = tl.load(values + at, mask=(position < last)[:, None], other=0.0)
        now = bias.to(tl.float32)
        position += block_s
        bias = tl.load(mask + position, mask=position < last, other=-float("inf"))
        largest, weight, sums = _attend(
            query, key, value, now, largest, weight, sums, scale, precision
        )
    if prefix_by == "within":
        prefix_keys += group * prefix_length * d
        prefix_values += group * prefix_length * d
        largest, weight, sums = _attend_to_all(
            query, prefix_keys, prefix_values, prefix_length, largest, weight, sums, scale,
            d, block_s, precision,
        )  # fmt: skip
    score = tl.sum(query.to(tl.float32) * key_now.to(tl.float32)[None, :], 1) * scale
    here = value_now.to(tl.float32)[None, :]
    largest, weight, sums = _joined(largest, weight, sums, score, 1.0, here)
    place = row * tl.num_programs(1) * repeats + head
    at_out = place[:, None] * d + dims[None, :]
    if prefix_by == "beside":
        gdc_wait()
    if prefix_by == "beside" or prefix_by == "before":  # noqa: PLR1714 (Triton knows no sets)
        other = tl.load(top + place, mask=real, other=LOWEST)
        other_weight = tl.load(total + place, mask=real, other=0.0)
        shared = tl.load(mean + at_out, mask=real[:, None], other=0.0)
        largest, weight, sums = _joined(largest, weight, sums, other, other_weight, shared)
    tl.store(out + at_out, (sums / weight[:, None]).to(out.dtype.element_ty), mask=real[:, None])
    tl.store(keys + last * d + dims, key_now)
    tl.store(values + last * d + dims, value_now)


@triton.jit
def own_by_sums(
    q, new_key, new_value, keys, values, mask, index, mean, top, total, out, length, scale,
    q_row, q_head, k_row, k_head, v_row, v_head, m_row,
    repeats: tl.constexpr, d: tl.constexpr, block_s: tl.constexpr, prefix_by: tl.constexpr,
):  # fmt: skip
    """The same as `own_by_products` without matrix products; one head each."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    heads = tl.num_programs(1)
    group = head // repeats
    start = (row * (heads // repeats) + group) * length * d
    keys += start
    values += start
    last = tl.load(index).to(tl.int32)
    dims = tl.arange(0, d)
    query = tl.load(q + row * q_row + head * q_head + dims).to(tl.float32) * scale
    key_now = tl.load(new_key + row * k_row + group * k_head + dims)
    value_now = tl.load(new_value + row * v_row + group * v_head + dims)
    largest = tl.full([], LOWEST, tl.float32)
    weight = tl.full([], 0.0, tl.float32)
    sums = tl.zeros([d], tl.float32)
    for first in range(0, last, block_s):
        position = first + tl.arange(0, block_s)
        there = position < last
        at = position[:, None] * d + dims[None, :]
        key = tl.load(keys + at, mask=there[:, None], other=0.0)
        value = tl.load(values + at, mask=there[:, None], other=0.0)
        bias = tl.load(mask + row * m_row + position, mask=there, other=-float("inf"))
        score = tl.sum(key.to(tl.float32) * query[None, :], 1) + bias.to(tl.float32)
        larger = tl.maximum(largest, tl.max(score, 0))
        p = tl.exp(score - larger)
        shrink = tl.exp(largest - larger)
        weight = weight * shrink + tl.sum(p, 0)
        sums = sums * shrink + tl.sum(p[:, None] * value.to(tl.float32), 0)
        largest = larger
    score = tl.sum(query * key_now.to(tl.float32), 0)
    larger = tl.maximum(largest, score)
    shrink = tl.exp(largest - larger)
    p = tl.exp(score - larger)
    weight = weight * shrink + p
    sums = sums * shrink + p * value_now.to(tl.float32)
    place = row * heads + head
    if prefix_by != "none":
        if prefix_by == "beside":
            gdc_wait()
        other = tl.load(top + place)
        largest = tl.maximum(larger, other)
        shrink = tl.exp(larger - largest)
        grow = tl.exp(other - largest)
        weight = weight * shrink + grow * tl.load(total + place)
        sums = sums * shrink + grow * tl.load(mean + place * d + dims)
    tl.store(out + place * d + dims, (sums / weight).to(out.dtype.element_ty))
    if head % repeats == 0:
        tl.store(keys + last * d + dims, key_now)
        tl.store(values + last * d + dims, value_now)
