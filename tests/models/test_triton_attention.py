"""The Triton kernels against the tensor products in float64: on a GPU, or by Triton's interpreter.

PyTorch for CPUs comes without Triton. With it, `TRITON_INTERPRET=1 pytest` runs these tests there.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
import torch

from contraflow.models.decode_attention import decode_attention

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None
    or not (torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"),
    reason="needs a GPU, or Triton and TRITON_INTERPRET=1",
)

SHAPES = {  # rows, heads, key heads, positions, head size, prefix, last position
    "a prefix": (5, 4, 4, 32, 64, 37, 7),
    "grouped heads": (8, 4, 2, 96, 32, 130, 80),
    "no prefix, one position": (3, 6, 1, 64, 16, 0, 0),
    "more than one block of rows": (17, 2, 2, 64, 64, 1, 63),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_kernels_give_the_mean_that_products_give(name: str) -> None:
    from contraflow.models import triton_attention

    b, h, g, s, d, p, last = SHAPES[name]
    rng = torch.Generator().manual_seed(len(name))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng).to(device)

    query = normal(b, 1, h, d).transpose(1, 2)  # not contiguous, as in a model
    keys, values = normal(b, g, s, d), normal(b, g, s, d)
    prefix = (normal(1, g, p, d), normal(1, g, p, d)) if p else None
    mask = torch.full((b, 1, 1, s), torch.finfo(torch.float32).min, device=device)
    mask[..., : last + 1] = 0.0
    mask[0, ..., : last // 2] = torch.finfo(torch.float32).min  # padding on the left
    index = torch.tensor([last], device=device)
    found = triton_attention.decode_attention(
        query, keys, values, mask, index, *(prefix or (None, None)), d**-0.5
    )
    doubled = None if prefix is None else (prefix[0].double(), prefix[1].double())
    expected = decode_attention(
        query.double(), keys.double(), values.double(), mask.double(), None, doubled
    )
    assert float((found - expected).norm() / expected.norm()) < 1e-5
