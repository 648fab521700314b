"""Attention of one token per row over [shared prefix | own keys], in one or two Triton kernels.

The first one reads the prefix once for sixteen queries, as a matrix product. The second one reads
the keys of the row itself, up to the position before the new one, adds the new key and value and
what the first one found, and writes the new key and value into the buffers. Later positions of the
buffers are not read at all.

This file is imported on a GPU only, where PyTorch brings Triton with it.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import triton
from torch import Tensor

from contraflow.models.attention.triton_kernels import over_prefix, own_by_products, own_by_sums

HOPPER = (9, 0)  # compute capability
QUERIES = 16  # rows of a matrix product: the fewest that tensor cores take


@dataclass(frozen=True)
class Launch:
    """How a kernel reads keys: so many at a time, by so many warps, loaded so far ahead."""

    block_s: int
    num_warps: int
    num_stages: int = 2


# How the prefix is joined: by a kernel of its own, by one during which the second kernel already
# reads the keys of the rows (Hopper and later), or by the second kernel itself.
PrefixBy = Literal["before", "beside", "within"]


@dataclass(frozen=True)
class Plan:
    """How the attention is computed.

    Args:
        products: scores and means are matrix products of the heads that share a key head, padded
            to sixteen; otherwise each head is a program, which sums in float32.
    """

    own: Launch
    prefix: Launch
    products: bool
    prefix_by: PrefixBy = "before"

    def __post_init__(self) -> None:
        if self.prefix_by == "within" and not self.products:
            raise ValueError("without matrix products the prefix needs a kernel of its own")


OF_PREFIX = Launch(64, 4, 3)
SINGLE = Plan(Launch(64, 1, 1), OF_PREFIX, products=False)  # each head has keys of its own
GROUPED = Plan(Launch(32, 1, 3), OF_PREFIX, products=True)  # some heads share them


def decode_attention(
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
    plan: Plan | None = None,
) -> Tensor:
    """Write key and value [b g 1 d] at position index [1] of the buffers, and attend; [b 1 h d].

    The query [b h 1 d] attends to the prefix [1 g p d], to keys [b g s d] before the position,
    whose scores get `mask` [b 1 1 s], and to the new key. Keys and values are contiguous.

    Raises: ValueError where the plan needs another GPU.
    """
    b, h, _, d = query.shape
    g, s = keys.shape[1], keys.shape[2]
    query, key, value = (x if x.stride(3) == 1 else x.contiguous() for x in (query, key, value))
    plan = plan or (SINGLE if h == g else GROUPED)
    precision = "ieee" if query.dtype == torch.float32 else "tf32"
    shape: dict[str, Any] = {"repeats": h // g, "d": d}
    out = query.new_empty(b, 1, h, d)
    sums = query.new_empty(b, h, d, dtype=torch.float32)
    top = query.new_empty(b, h, dtype=torch.float32)
    total = torch.empty_like(top)
    found = (sums, top, total)
    prefix_by, p = "none", 0
    if prefix_keys is not None and prefix_values is not None:
        prefix_keys, prefix_values = prefix_keys.contiguous(), prefix_values.contiguous()
        prefix_by, p = plan.prefix_by, prefix_keys.shape[2]
    beside = prefix_by == "beside"
    if beside:
        _need_hopper(query.device)
    if prefix_by in {"before", "beside"}:
        n = b * (h // g)
        over_prefix[(triton.cdiv(n, QUERIES), g)](
            query, prefix_keys, prefix_values, *found, n, p, scale,
            query.stride(0), query.stride(1), block_q=QUERIES, precision=precision,
            beside=beside, **shape, **vars(plan.prefix),
        )  # fmt: skip
    strides = [x.stride(i) for x in (query, key, value) for i in (0, 1)] + [mask.stride(0)]
    options = vars(plan.own) | shape | {"prefix_by": prefix_by}
    if beside:
        options["launch_pdl"] = True
    written = (query, key, value, keys, values, mask, index)
    if plan.products:
        block_q = max(QUERIES, triton.next_power_of_2(h // g))
        own_by_products[(b, g)](
            *written, prefix_keys, prefix_values, *found, out, s, p, scale, *strides,
            block_q=block_q, precision=precision, **options,
        )  # fmt: skip
    else:
        own_by_sums[(b, h)](*written, *found, out, s, scale, *strides, **options)
    return out


def _need_hopper(device: torch.device) -> None:
    """Let a kernel start beside the one before it only where GPUs can: elsewhere it reads what is
    not written yet.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < HOPPER:
        raise ValueError(
            "prefix_by='beside' needs a GPU of compute capability 9.0 (Hopper) or later; "
            "use prefix_by='before'"
        )
