"""Attention with a shared prefix: every row attends to the same constant keys.

A few-shot header of 300 tokens repeated for 32 questions was half a gigabyte of copies a pass. Here
the header's scores for all rows that decode are one matrix product; a single softmax spans header
and own keys, so the result is exact. Where many tokens are read in few rows (`TokenTree`) the
copies are small, and a fused kernel that stores no scores for the backward pass is worth more.
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
    """Keys and values of a constant text, one pair per layer, shapes [1 heads h head_dim]."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    length: int


_active: ContextVar[PrefixCache | None] = ContextVar("active_prefix", default=None)


def active_prefix() -> PrefixCache | None:
    """What `attending_to` has set here."""
    return _active.get()


@contextmanager
def attending_to(prefix: PrefixCache | None) -> Iterator[None]:
    """Within the block every attention layer also sees the prefix."""
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

    Raises: UserError for a model whose scores are capped or share their softmax with sinks:
    ignored, it would be another model.
    """
    if softcap is not None or s_aux is not None:
        raise unsupported(type(module).__name__, "its attention caps scores or has sinks")
    prefix = active_prefix()
    layer = None if prefix is None else prefix.layers[int(module.layer_idx)]  # type: ignore[arg-type]
    if query.shape[2] > 1:
        return _read(query, key, value, attention_mask, scaling, layer), None
    return _decode(query, key, value, attention_mask, scaling, layer), None


def _read(
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b g s d"],
    value: Float[Tensor, "b g s d"],
    mask: Float[Tensor, "b 1 t s"] | None,
    scaling: float | None,
    prefix: tuple[Tensor, Tensor] | None,
) -> Float[Tensor, "b t h d"]:
    """Many tokens in few rows: copying the prefix to each row is cheap, and the fused kernel keeps
    no scores.
    """
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
    """One token in many rows: all rows meet the one copy of the prefix in one product per key head."""
    b, h, t, d = query.shape
    g, s = key.shape[1], key.shape[2]
    grouped = query.reshape(b, g, h // g, d) * (scaling if scaling is not None else d**-0.5)
    own: Tensor = (grouped @ key.transpose(2, 3)).view(b, h, t, s)
    if mask is not None:
        own = own + mask[..., :s]
    if prefix is None:
        weights = _softmax(own)
        alone: Tensor = (weights.view(b, g, -1, s) @ value).view(b, h, t, d)
        return alone.transpose(1, 2).contiguous()
    keys, values = (x[0] for x in prefix)
    folded = grouped.transpose(0, 1).reshape(g, -1, d)
    shared = (
        (folded @ keys.transpose(1, 2)).view(g, b, h // g, -1).transpose(0, 1).reshape(b, h, t, -1)
    )
    weights = _softmax(torch.cat([shared, own], -1))
    on_shared, on_own = weights.split([keys.shape[1], s], -1)
    from_own = on_own.reshape(b, g, -1, s) @ value
    from_shared = (
        on_shared.reshape(b, g, h // g, -1).transpose(0, 1).reshape(g, b * (h // g), -1) @ values
    )
    both: Tensor = from_own + from_shared.view(g, b, -1, d).transpose(0, 1)
    return both.view(b, h, t, d).transpose(1, 2).contiguous()


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1, dtype=torch.float32).to(scores.dtype)


def install() -> None:
    """Make the attention known to transformers under `NAME`."""
    AttentionInterface.register(NAME, shared_prefix_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
