"""The Triton kernels against the tensor products in float64: on a GPU, or by Triton's interpreter.

PyTorch for CPUs comes without Triton. With it, `TRITON_INTERPRET=1 pytest` runs these tests there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from contraflow.models.attention.attention_check import Heads, attention_difference
from contraflow.models.attention.decode_attention import decode_attention

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None
    or not (torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"),
    reason="needs a GPU, or Triton and TRITON_INTERPRET=1",
)

SHAPES = {  # rows, heads, key heads, positions, head size, prefix, last position
    "a prefix": (5, 4, 4, 32, 64, 37, 7),
    "grouped heads": (8, 4, 2, 96, 32, 130, 80),
    "three heads a key head": (2, 6, 2, 32, 16, 20, 17),
    "no prefix, one position": (3, 6, 1, 64, 16, 0, 0),
    "more than one block of rows": (17, 2, 2, 64, 64, 1, 63),
    "one block before the last": (2, 1, 1, 128, 16, 64, 64),
    "one block and one before the last": (2, 1, 1, 128, 16, 65, 65),
    "large heads": (2, 2, 1, 32, 128, 3, 20),
}
# (keys at a time, by products, the prefix's kernel); "beside" needs a Hopper GPU.
PLANS = [
    (64, True, "before"), (32, True, "before"), (16, True, "within"), (64, True, "within"),
    (64, False, "before"), (16, False, "before"), (64, True, "beside"), (64, False, "beside"),
]  # fmt: skip


@dataclass
class Inputs:
    """One token of every row, before it is written."""

    query: Tensor
    key: Tensor
    value: Tensor
    keys: Tensor
    values: Tensor
    mask: Tensor
    index: Tensor
    prefix: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, name: str, dtype: torch.dtype = torch.float32) -> Inputs:
        """Random ones; the first row is padded on the left, past the first block if it can be."""
        b, h, g, s, d, p, last = SHAPES[name]
        rng = torch.Generator().manual_seed(len(name))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=rng).to(device, dtype)

        token = [normal(b, 1, x, d).transpose(1, 2) for x in (h, g, g)]  # not contiguous, as ever
        mask = torch.full((b, 1, 1, s), torch.finfo(dtype).min, dtype=dtype, device=device)
        mask[..., : last + 1] = 0.0
        mask[0, ..., : max(last - 1, 0)] = torch.finfo(dtype).min
        prefix = (normal(1, g, p, d), normal(1, g, p, d)) if p else None
        index = torch.tensor([last], device=device)
        return cls(*token, normal(b, g, s, d), normal(b, g, s, d), mask, index, prefix)

    def by_kernels(self, plan: Any = None) -> Tensor:
        from contraflow.models.attention import triton_attention

        inputs = (self.query, self.key, self.value, self.keys, self.values, self.mask, self.index)
        chosen = {} if plan is None else {"plan": plan}
        scale = self.query.shape[-1] ** -0.5
        prefix = self.prefix or (None, None)
        return triton_attention.decode_attention(*inputs, *prefix, scale, **chosen)

    def buffers(self) -> list[Tensor]:
        """The keys and the values with those of the new token."""
        both = ((self.keys, self.key), (self.values, self.value))
        return [old.index_copy(2, self.index, new) for old, new in both]

    def by_products(self, sizes: bool = False) -> Tensor:
        """The means in float64; with `sizes` those of the values' sizes."""
        keys, values = (x.double() for x in self.buffers())
        prefix = None if self.prefix is None else (self.prefix[0].double(), self.prefix[1].double())
        if sizes:
            values = values.abs()
            prefix = None if prefix is None else (prefix[0], prefix[1].abs())
        return decode_attention(self.query.double(), keys, values, self.mask.double(), None, prefix)


def made(block_s: int, products: bool, prefix_by: str) -> Any:
    from contraflow.models.attention.triton_attention import Launch, Plan

    if prefix_by == "beside" and not (
        torch.cuda.is_available() and torch.cuda.get_device_capability() >= (9, 0)
    ):
        pytest.skip("needs a Hopper GPU")
    return Plan(Launch(block_s, 1), Launch(block_s, 4), products, prefix_by)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SHAPES)
def test_the_kernels_give_the_mean_that_products_give(name: str) -> None:
    inputs = Inputs.of(name)
    expected, buffers = inputs.by_products(), inputs.buffers()
    found = inputs.by_kernels()
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    assert torch.equal(inputs.keys, buffers[0])
    assert torch.equal(inputs.values, buffers[1])


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_gives_that_mean(name: str, plan: tuple[int, bool, str]) -> None:
    inputs = Inputs.of(name)
    expected, buffers = inputs.by_products(), inputs.buffers()
    found = inputs.by_kernels(made(*plan))
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    assert torch.equal(inputs.keys, buffers[0])
    assert torch.equal(inputs.values, buffers[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("plan", PLANS)
def test_in_half_only_weights_and_means_are_rounded(
    plan: tuple[int, bool, str], dtype: torch.dtype
) -> None:
    """Products of numbers of 16 bits are exact in float32, in which they are summed.

    Before the second product each weight is rounded, by half of `eps` of itself at most: a mean
    changes by that part of the mean of the values' sizes. At the end the mean is rounded, which is
    less again.
    """
    if dtype == torch.bfloat16 and not torch.cuda.is_available():
        pytest.skip("Triton's interpreter multiplies the bits of bfloat16 as integers")
    inputs = Inputs.of("grouped heads", dtype)
    expected, sizes = inputs.by_products(), inputs.by_products(sizes=True)
    error = (inputs.by_kernels(made(*plan)).double() - expected).abs()
    assert bool((error <= (torch.finfo(dtype).eps + 1e-4) * sizes).all())


def test_masks_of_minus_infinity_give_numbers() -> None:
    inputs = Inputs.of("one block and one before the last")
    expected = inputs.by_products()
    inputs.mask[inputs.mask < -1.0] = -float("inf")
    assert float((inputs.by_kernels() - expected).norm() / expected.norm()) < 1e-5


def test_kernels_side_by_side_need_a_gpu_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere the second kernel would read what the first one has not written yet."""
    from contraflow.models.attention.triton_attention import OF_PREFIX, Plan

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 9))
    plan = Plan(OF_PREFIX, OF_PREFIX, products=True, prefix_by="beside")
    with pytest.raises(ValueError, match=r"'beside' needs .* 9.0 \(Hopper\) or later; use"):
        Inputs.of("a prefix").by_kernels(plan)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float16, 2e-3)])
@pytest.mark.parametrize(
    ("n", "n_keys", "dim", "with_prefix"), [(4, 4, 64, True), (4, 2, 32, True), (2, 2, 16, False)]
)
def test_the_kernels_pass_the_check_at_first_use(
    n: int, n_keys: int, dim: int, with_prefix: bool, dtype: torch.dtype, bound: float
) -> None:
    """With room to the bounds of the check, 1e-4 and 3.9e-3."""
    from contraflow.models.attention import triton_attention

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    heads = Heads(device, dtype, n, n_keys, dim, with_prefix)
    assert attention_difference(heads, triton_attention.decode_attention) < bound


def test_positions_after_the_last_are_not_read() -> None:
    inputs = Inputs.of("a prefix")
    expected = inputs.by_products()
    last = int(inputs.index)
    for buffer in (inputs.keys, inputs.values):
        buffer[:, :, last:] = float("nan")
    assert float((inputs.by_kernels() - expected).norm() / expected.norm()) < 1e-5
