"""DeBERTa's scores by relative position, with the positions shared by all rows.

The score of token i for token j is (He et al. 2021, equation 4)

    Q_i K_j + Q_i P_K[δ] + K_j P_Q[δ],    δ = i - j in buckets,

where P_K and P_Q are the keys and queries of the relative positions. They are the same for every
row, and of a network that is not trained always the same. The network of transformers repeats them
for every row and layer, 512 positions of DeBERTa-v3: more copying than the products are worth. Here
they are computed once, the rows of a head are one product with them, and positions that a text of
this length cannot have are left out. In texts of up to half as many tokens as there are buckets,
128 for DeBERTa-v3, the position is the distance i - j itself: then the scores lie in the products
along shifted rows, and nothing is gathered.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention


def share_positions(model: nn.Module) -> None:
    """Make the layers of a frozen DeBERTa (v2 or v3) in eval mode share positions between rows.

    From the first pass on, the weights must stay as they are, where they are.
    """
    for module in model.modules():
        if type(module) is DisentangledSelfAttention and module.relative_attention:
            layer: Any = module
            layer.disentangled_attention_bias = _PositionScores(module)


class _PositionScores:
    """The part of a layer's scores that depends on positions."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._usual = layer.disentangled_attention_bias
        self._rows: Tensor | None = None  # [2 span, width], the first embeddings that came

    def __call__(
        self,
        query: Float[Tensor, "b*h t d"],
        key: Float[Tensor, "b*h t d"],
        relative: Int[Tensor, "1 t t"] | None,
        embeddings: Float[Tensor, "p w"],
        n_terms: int,
    ) -> Float[Tensor, "b*h t t"] | int:
        """The scores to add to those by content; `n_terms` are added in all."""
        same_for_all = relative is not None and relative.dim() == 3 and len(relative) == 1
        if relative is None or not same_for_all or self._layer.training:
            out: Tensor = self._usual(query, key, relative, embeddings, n_terms)
            return out
        if self._rows is None:
            self._rows = embeddings[: 2 * self._span]
        root = torch.tensor(math.sqrt(query.shape[-1] * n_terms)).to(query.dtype)
        if self._is_by_distance(query.shape[1]):
            return self._by_distance(query, key, float(root))
        first, last = self._used(query.shape[1])
        at = (relative[0] + self._span).clamp(0, 2 * self._span - 1) - first
        scores: Any = 0
        if self._keys is not None:
            scores = _by_position(query, self._keys[:, first:last], at) / float(root)
        if self._queries is not None:
            mirrored = (self._span - relative[0]).clamp(0, 2 * self._span - 1) - first
            found = _by_position(key, self._queries[:, first:last], mirrored)
            scores = scores + found.transpose(1, 2) / float(root)
        return cast(Tensor, scores)

    def _is_by_distance(self, t: int) -> bool:
        """Whether every distance in a text of t tokens is a position of its own."""
        buckets = self._layer.position_buckets
        return t <= self._span and (buckets <= 0 or t <= buckets // 2)

    def _by_distance(
        self, query: Float[Tensor, "b*h t d"], key: Float[Tensor, "b*h t d"], root: float
    ) -> Float[Tensor, "b*h t t"]:
        t = query.shape[1]
        near = slice(self._span - t, self._span + t)  # distances -t … t - 1
        parts = []
        if self._keys is not None:
            # Position i - j + t of a token's products, which are in reverse order.
            from_end = self._keys[:, near].flip(1) / root
            parts.append(_shifted(query, from_end, t - 1))
        if self._queries is not None:
            # Of token j: position i - j + t.
            parts.append(_shifted(key, self._queries[:, near] / root, t).transpose(2, 3))
        scores = query.new_empty(len(query), t, t)
        into = scores.view(parts[0].shape)
        if len(parts) == 2:
            torch.add(*parts, out=into)
        else:
            into.copy_(parts[0])
        return scores

    @property
    def _span(self) -> int:
        """Relative positions are from -span to span - 1."""
        return int(self._layer.pos_ebd_size)

    def _used(self, t: int) -> tuple[int, int]:
        """The range of positions of a text of t tokens. Buckets begin at half of the span."""
        buckets = self._layer.position_buckets
        if buckets > 0 and t > buckets // 2:
            return 0, 2 * self._span
        return max(0, self._span - t), min(2 * self._span, self._span + t)

    @cached_property
    def _keys(self) -> Float[Tensor, "h p d"] | None:
        """P_K, where content asks for positions."""
        shared = self._layer.share_att_key
        return self._projected("c2p", "key_proj" if shared else "pos_key_proj")

    @cached_property
    def _queries(self) -> Float[Tensor, "h p d"] | None:
        """P_Q, where positions ask for content."""
        shared = self._layer.share_att_key
        return self._projected("p2c", "query_proj" if shared else "pos_query_proj")

    def _projected(self, kind: str, projection: str) -> Float[Tensor, "h p d"] | None:
        if kind not in self._layer.pos_att_type:
            return None
        assert self._rows is not None
        states: Tensor = getattr(self._layer, projection)(self._rows)
        by_head: Tensor = states.unflatten(-1, (self._layer.num_attention_heads, -1))
        return by_head.transpose(0, 1)


def _shifted(
    states: Float[Tensor, "b*h t d"], positions: Float[Tensor, "h 2t d"], first: int
) -> Float[Tensor, "b h t t"]:
    """The product of state a with positions first - a, first - a + 1, … : a view."""
    n, t, d = states.shape
    h = len(positions)
    by_head = states.view(-1, h, t, d).transpose(0, 1).reshape(h, -1, d)
    products = by_head @ positions.transpose(1, 2)  # [h, b * t, 2t]
    each = 2 * t * t
    strides = (each, (n // h) * each, 2 * t - 1, 1)
    return products.as_strided((n // h, h, t, t), strides, first)


def _by_position(
    states: Float[Tensor, "b*h t d"], positions: Float[Tensor, "h p d"], at: Int[Tensor, "t t"]
) -> Float[Tensor, "b*h t t"]:
    """The product of each state with the position at [its token, the other token]."""
    n, t, d = states.shape
    h = len(positions)
    by_head = states.view(-1, h, t, d).transpose(0, 1).reshape(h, -1, d)
    products = (by_head @ positions.transpose(1, 2)).view(h, -1, t, positions.shape[1])
    index = at.expand(n // h, h, t, t)
    return products.transpose(0, 1).gather(3, index).view(n, t, t)
