"""Attention with a shared prefix: every row attends to the same constant keys and values.

Copying a few-shot header of 300 tokens for 32 questions took half a gigabyte per pass. While
decoding, the scores of all rows against the prefix are one matrix product instead. One softmax
spans prefix and own keys, so the result is exact. A pass that reads many tokens in few rows
(`TokenTree`) copies the prefix: there the copies are small, and the fused kernel, which stores no
scores for the backward pass, saves more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from contraflow.models.attention.architecture import unsupported
from contraflow.models.attention.decode_attention import decode_attention
from contraflow.models.attention.fused_attention import fits, fused_attention

NAME = "contraflow_shared_prefix"


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values of a constant text: one pair per layer, each [1 heads length head_dim]."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    length: int


_active: ContextVar[PrefixCache | None] = ContextVar("active_prefix", default=None)


def active_prefix() -> PrefixCache | None:
    """Return the prefix of the enclosing `sharing_prefix` block, or None."""
    return _active.get()


@contextmanager
def sharing_prefix(prefix: PrefixCache | None) -> Iterator[None]:
    """Make every attention layer attend to the prefix, for all rows, within the block."""
    token = _active.set(prefix if prefix is not None and prefix.length else None)
    try:
        yield
    finally:
        _active.reset(token)


@dataclass(frozen=True)
class Buffers:
    """Keys and values of one layer of a static step, and the position of the next token."""

    keys: Float[Tensor, "b g s d"]
    values: Float[Tensor, "b g s d"]
    index: Int[Tensor, " 1"]  # later positions hold nothing


@dataclass
class _Layer:
    """What the one layer that runs now attends to; see `layer_prefix`."""

    running: bool = False
    prefix: tuple[Tensor, Tensor] | None = None
    buffers: Buffers | None = None


# Compiled code can read no context variable, and must not depend on the number of the layer, or
# each layer would be compiled. Therefore what differs between layers is put here.
_layer = _Layer()


@contextmanager
def layer_prefix(
    prefix: tuple[Tensor, Tensor] | None, buffers: Buffers | None = None
) -> Iterator[None]:
    """Make the layer that is called in the block attend to these keys and values.

    Args:
        buffers: with them the attention gets the key and value of one new token only. It writes
            them there, and decodes by the one operation of `fused_attention.py`.
    """
    _layer.running, _layer.prefix, _layer.buffers = True, prefix, buffers
    try:
        yield
    finally:
        _layer.running, _layer.prefix, _layer.buffers = False, None, None


def _prefix_of(module: nn.Module) -> tuple[Tensor, Tensor] | None:
    if _layer.running:
        return _layer.prefix
    prefix = active_prefix()
    return None if prefix is None else prefix.layers[int(module.layer_idx)]  # type: ignore[arg-type]


def shared_prefix_attention(
    module: nn.Module,
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b g s d"],
    value: Float[Tensor, "b g s d"],
    attention_mask: Float[Tensor, "b 1 t s"] | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_kwargs: Any,
) -> tuple[Float[Tensor, "b t h d"], None]:
    """Attention over [prefix | own keys] in one softmax; g key heads serve h query heads.

    Raises: UserError when the model caps its scores or adds sinks to the softmax; neither is
        implemented here.
    """
    if softcap is not None or s_aux is not None:
        raise unsupported(type(module).__name__, "its attention caps scores or has sinks")
    layer = _prefix_of(module)
    if query.shape[2] > 1:
        return _prefill(query, key, value, attention_mask, scaling, layer), None
    if _layer.buffers is not None:
        token = (query, key, value)
        return _write_and_attend(*token, attention_mask, scaling, layer, _layer.buffers), None
    return decode_attention(query, key, value, attention_mask, scaling, layer), None


def _write_and_attend(
    query: Float[Tensor, "b h 1 d"],
    key: Float[Tensor, "b g 1 d"],
    value: Float[Tensor, "b g 1 d"],
    mask: Float[Tensor, "b 1 1 s"] | None,
    scaling: float | None,
    prefix: tuple[Tensor, Tensor] | None,
    own: Buffers,
) -> Float[Tensor, "b 1 h d"]:
    """Write key and value into the buffers and decode, in one operation where it fits."""
    if mask is not None and fits(query, own.keys, own.values, mask):
        scale = scaling if scaling is not None else query.shape[-1] ** -0.5
        read = (own.keys, own.values, mask, own.index)
        attended: Tensor = fused_attention(
            query, key, value, *read, *(prefix or (None, None)), scale
        )
        return attended
    own.keys.index_copy_(2, own.index, key)
    own.values.index_copy_(2, own.index, value)
    return decode_attention(query, own.keys, own.values, mask, scaling, prefix)


def _prefill(
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b g s d"],
    value: Float[Tensor, "b g s d"],
    mask: Float[Tensor, "b 1 t s"] | None,
    scaling: float | None,
    prefix: tuple[Tensor, Tensor] | None,
) -> Float[Tensor, "b t h d"]:
    """Many tokens in few rows: copy the prefix to each row and use the fused kernel."""
    if mask is not None:
        mask = mask[..., : key.shape[2]]
    if prefix is not None:
        length = prefix[0].shape[2]
        key = torch.cat([prefix[0].expand(len(key), -1, -1, -1), key], 2)
        value = torch.cat([prefix[1].expand(len(value), -1, -1, -1), value], 2)
        mask = None if mask is None else nn.functional.pad(mask, (length, 0))
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key = key.repeat_interleave(repeats, 1)
        value = value.repeat_interleave(repeats, 1)
    out: Tensor = nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scaling)
    return out.transpose(1, 2).contiguous()


def install() -> None:
    """Register the attention with transformers under `NAME`. Idempotent."""
    AttentionInterface.register(NAME, shared_prefix_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
