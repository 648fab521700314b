"""Attention with a shared prefix: every row attends to the same constant keys, which are never copied per row.

A few-shot header of 300 tokens repeated for 32 questions was half a gigabyte of copies a pass. Here the header's
scores for all rows are one matrix product; a single softmax spans header and own keys, so the result is exact.
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

NAME = "contraflow_shared_prefix"


@dataclass(frozen=True)
class Prefix:
    """Keys and values of a constant text, one pair per layer, shapes [1 heads h head_dim]."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    length: int


_active: ContextVar[Prefix | None] = ContextVar("active_prefix", default=None)


@contextmanager
def attending_to(prefix: Prefix | None) -> Iterator[None]:
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
    dropout: float = 0.0,
    **_kwargs: Any,
) -> tuple[Float[Tensor, "b t h d"], None]:
    """Attention over [prefix | own keys] in one softmax; g key heads serve h query heads."""
    b, h, t, d = query.shape
    g, s = key.shape[1], key.shape[2]
    scale = scaling if scaling is not None else d**-0.5
    grouped = query.reshape(b, g, (h // g) * t, d) * scale
    own = (grouped @ key.transpose(2, 3)).view(b, h, t, s)
    if attention_mask is not None:
        own = own + attention_mask[..., :s]
    prefix = _active.get()
    if prefix is None:
        weights = nn.functional.dropout(_softmax(own), dropout, module.training)
        out = weights.view(b, g, -1, s) @ value
        return out.view(b, h, t, d).transpose(1, 2).contiguous(), None
    keys, values = (x[0] for x in prefix.layers[int(module.layer_idx)])  # type: ignore[arg-type]
    folded = grouped.transpose(0, 1).reshape(g, -1, d)  # all rows at once: one product per key head
    shared = (folded @ keys.transpose(1, 2)).view(g, b, h // g, t, -1).transpose(0, 1).reshape(b, h, t, -1)
    weights = nn.functional.dropout(_softmax(torch.cat([shared, own], -1)), dropout, module.training)
    on_shared, on_own = weights.split([prefix.length, s], -1)
    from_own = on_own.reshape(b, g, -1, s) @ value
    from_shared = (
        on_shared.reshape(b, g, -1, prefix.length).transpose(0, 1).reshape(g, -1, prefix.length) @ values
    )
    from_shared = from_shared.view(g, b, -1, d).transpose(0, 1)
    return (from_own + from_shared).view(b, h, t, d).transpose(1, 2).contiguous(), None


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1, dtype=torch.float32).to(scores.dtype)


def install() -> None:
    """Make the attention known to transformers under `NAME`."""
    AttentionInterface.register(NAME, shared_prefix_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
