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
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from contraflow.models.architecture import unsupported

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
    prefix = active_prefix()
    layer = None if prefix is None else prefix.layers[int(module.layer_idx)]  # type: ignore[arg-type]
    if query.shape[2] > 1:
        return _prefill(query, key, value, attention_mask, scaling, layer), None
    return _decode(query, key, value, attention_mask, scaling, layer), None


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
    out: Tensor = nn.functional.scaled_dot_product_attention(
        query,
        key.repeat_interleave(repeats, 1),
        value.repeat_interleave(repeats, 1),
        mask,
        scale=scaling,
    )
    return out.transpose(1, 2).contiguous()


def _decode(
    query: Float[Tensor, "b h 1 d"],
    key: Float[Tensor, "b g s d"],
    value: Float[Tensor, "b g s d"],
    mask: Float[Tensor, "b 1 1 s"] | None,
    scaling: float | None,
    prefix: tuple[Tensor, Tensor] | None,
) -> Float[Tensor, "b 1 h d"]:
    """One token in many rows: one product per key head of all rows with the single prefix."""
    b, h, t, d = query.shape
    g, s = key.shape[1], key.shape[2]
    grouped = query.reshape(b, g, h // g, d) * (scaling if scaling is not None else d**-0.5)
    own: Tensor = (grouped @ key.transpose(2, 3)).view(b, h, t, s)
    if mask is not None:
        own = own + mask[..., :s]
    if prefix is None:
        weights = _softmax(own)
        without_prefix: Tensor = (weights.view(b, g, -1, s) @ value).view(b, h, t, d)
        return without_prefix.transpose(1, 2).contiguous()
    # The rows of each key head are folded into one matrix: [g, b * h/g, d] @ [g, d, length].
    keys, values = (x[0] for x in prefix)
    folded = grouped.transpose(0, 1).reshape(g, -1, d)
    shared = (folded @ keys.transpose(1, 2)).view(g, b, h // g, -1)
    shared = shared.transpose(0, 1).reshape(b, h, t, -1)
    weights = _softmax(torch.cat([shared, own], -1))
    on_shared, on_own = weights.split([keys.shape[1], s], -1)
    from_own = on_own.reshape(b, g, -1, s) @ value
    on_shared = on_shared.reshape(b, g, h // g, -1).transpose(0, 1)
    from_shared = on_shared.reshape(g, b * (h // g), -1) @ values
    total: Tensor = from_own + from_shared.view(g, b, -1, d).transpose(0, 1)
    return total.view(b, h, t, d).transpose(1, 2).contiguous()


def _softmax(scores: Tensor) -> Tensor:
    """Softmax in float32, returned in the dtype of the scores."""
    return scores.softmax(-1, dtype=torch.float32).to(scores.dtype)


def install() -> None:
    """Register the attention with transformers under `NAME`. Idempotent."""
    AttentionInterface.register(NAME, shared_prefix_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
