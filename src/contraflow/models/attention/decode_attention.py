"""Attention of one token per row over [shared prefix | own keys], as tensor products.

`fused_attention.py` does the same in one operation.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def decode_attention(
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
    own = _scores(grouped, key).view(b, h, t, s)
    if mask is not None:
        own = own + mask[..., :s]
    if prefix is None:
        weights = _softmax(own)
        without_prefix: Tensor = _mean(weights.view(b, g, -1, s), value).view(b, h, t, d)
        return without_prefix.transpose(1, 2).contiguous()
    # The rows of each key head are folded into one matrix: [g, b * h/g, d] @ [g, d, length].
    keys, values = (x[0] for x in prefix)
    folded = grouped.transpose(0, 1).reshape(g, -1, d)
    shared = (folded @ keys.transpose(1, 2)).view(g, b, h // g, -1)
    shared = shared.transpose(0, 1).reshape(b, h, t, -1)
    weights = _softmax(torch.cat([shared, own], -1))
    on_shared, on_own = weights.split([keys.shape[1], s], -1)
    from_own = _mean(on_own.reshape(b, g, -1, s), value)
    on_shared = on_shared.reshape(b, g, h // g, -1).transpose(0, 1)
    from_shared = on_shared.reshape(g, b * (h // g), -1) @ values
    total: Tensor = from_own + from_shared.view(g, b, -1, d).transpose(0, 1)
    return total.view(b, h, t, d).transpose(1, 2).contiguous()


# A product of a single row is a sum that a compiler fuses with what is before and after it.
def _scores(
    query: Float[Tensor, "b g r d"], key: Float[Tensor, "b g s d"]
) -> Float[Tensor, "b g r s"]:
    """The product of the queries of each key head with its keys."""
    if torch.compiler.is_compiling() and query.shape[2] == 1:
        return (query * key).sum(-1)[:, :, None]
    return query @ key.transpose(2, 3)


def _mean(
    weights: Float[Tensor, "b g r s"], value: Float[Tensor, "b g s d"]
) -> Float[Tensor, "b g r d"]:
    """The mean of the values under the weights of each query."""
    if torch.compiler.is_compiling() and weights.shape[2] == 1:
        return (weights.transpose(2, 3) * value).sum(2, keepdim=True)
    return weights @ value


def _softmax(scores: Tensor) -> Tensor:
    """Softmax in float32, returned in the dtype of the scores."""
    return scores.softmax(-1, dtype=torch.float32).to(scores.dtype)
