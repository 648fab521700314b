"""Attention of one token per row as one operation, which also writes its key and value.

On a GPU the products of `decode_attention.py` are ten kernels a layer, and writing the new key and
value is two more; `triton_attention.py` does it all in two. PyTorch knows these as one operation,
which changes the buffers in place, so that a compiled layer can call it. It compares itself with
the products at its first use (`attention_check.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.models.attention.attention_check import Heads, check
from contraflow.models.attention.decode_attention import decode_attention

SMALLEST_DIM = 16  # of a head, for the matrix products of a GPU


def fits(
    query: Float[Tensor, "b h 1 d"],
    keys: Float[Tensor, "b g s d"],
    values: Float[Tensor, "b g s e"],
    mask: Tensor | None,
) -> bool:
    """Whether the fused attention can do it: one mask for all heads, heads of 16, 32, 64, …"""
    d = query.shape[-1]
    return (
        mask is not None
        and mask.shape[1] == mask.shape[2] == 1
        and mask.shape[3] == keys.shape[2]
        and keys.shape == values.shape
        and d >= SMALLEST_DIM
        and d & (d - 1) == 0
    )


def write_and_attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
    index: Tensor,
    prefix_keys: Tensor | None,
    prefix_values: Tensor | None,
    scale: float,
) -> Tensor:
    """The operation without its check; Triton kernels on a GPU.

    Raises: whatever Triton or a C compiler raises.
    """
    if query.is_cuda:
        from contraflow.models.attention import triton_attention

        return triton_attention.decode_attention(
            query, key, value, keys, values, mask, index, prefix_keys, prefix_values, scale
        )
    keys.index_copy_(2, index, key)
    values.index_copy_(2, index, value)
    prefix = None
    if prefix_keys is not None and prefix_values is not None:
        prefix = (prefix_keys, prefix_values)
    return decode_attention(query, keys, values, mask, scale, prefix)


def _checked(query: Tensor, *others: Any) -> Tensor:
    """`write_and_attend`, compared with the products at its first use for such heads."""
    keys, prefix_keys = others[2], others[6]
    _, h, _, d = query.shape
    heads = Heads(query.device, query.dtype, h, keys.shape[1], d, prefix_keys is not None)
    check(heads, write_and_attend)
    return write_and_attend(query, *others)


# Write the key and value [b g 1 d] of a new token at position index [1] of the buffers of a static
# step, then `decode_attention` [b 1 h d] up to that position: later ones hold nothing, and the
# token sees itself. On a CPU it is the same products, so that what is around it is tested there.
# Raises FusedWrong where it computes something else.
fused_attention = torch.library.custom_op(
    "contraflow::decode_attention",
    _checked,
    mutates_args=("keys", "values"),
    schema="(Tensor query, Tensor key, Tensor value, Tensor(a!) keys, Tensor(b!) values, "
    "Tensor mask, Tensor index, Tensor? prefix_keys, Tensor? prefix_values, float scale) -> Tensor",
)


@fused_attention.register_fake
def _shape(query: Tensor, *_rest: object) -> Tensor:
    b, h, _, d = query.shape
    return query.new_empty(b, 1, h, d)
