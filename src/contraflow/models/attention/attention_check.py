"""The fused attention compared with the tensor products, at its first use for each kind of heads.

A kernel that compiles may still compute something else, on a GPU or by a compiler that nobody has
tried it with. The comparison takes some milliseconds, once in a process; its random inputs are as
small as they can be with two blocks of everything that the kernels read in blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.models.attention.decode_attention import decode_attention

ROWS = 32  # Triton compiles a kernel of its own where such a number is no multiple of 16
LENGTH = 96
POSITIONS = (0, 70)  # of the new token
PREFIX_LENGTH = 70

# How far a head's mean may be off, relative to itself. In 16 bits the kernels round the weight of
# each value and the mean, to u = 2^-8 or 2^-11 of themselves. A mean of some 60 values of random
# signs is six times smaller than they are, so the difference is at most about 7 u; 8 u are
# allowed. In float32 it must be less than the 2^-11 that products in TF32 would leave.
ROUNDING_ERROR = {torch.float32: 1e-4, torch.bfloat16: 8 * 2**-8, torch.float16: 8 * 2**-11}

_TINY = 1e-12


class FusedWrong(Exception):
    """The fused attention's results are not those of the products."""


@dataclass(frozen=True)
class Heads:
    """What decides which kernels are compiled: `n` query heads share `n_keys` key heads."""

    device: torch.device
    dtype: torch.dtype
    n: int
    n_keys: int
    dim: int
    with_prefix: bool


@dataclass(frozen=True)
class OneToken:
    """The arguments of the fused attention, in its order."""

    query: Float[Tensor, "b h 1 d"]
    key: Float[Tensor, "b g 1 d"]
    value: Float[Tensor, "b g 1 d"]
    keys: Float[Tensor, "b g s d"]
    values: Float[Tensor, "b g s d"]
    mask: Float[Tensor, "b 1 1 s"]
    index: Int[Tensor, " 1"]
    prefix_keys: Float[Tensor, "1 g p d"] | None
    prefix_values: Float[Tensor, "1 g p d"] | None
    scale: float

    @classmethod
    def random(
        cls, heads: Heads, rows: int, length: int, position: int, prefix_length: int
    ) -> OneToken:
        """Random inputs of so many rows; the first row is padded on the left."""
        device, dtype, h, g, d = heads.device, heads.dtype, heads.n, heads.n_keys, heads.dim
        rng = torch.Generator(device).manual_seed(position)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=rng, device=device).to(dtype)

        # Parts of one product, as GPT-2's are: they are not contiguous.
        product = normal(rows, 1, h + 2 * g, d).transpose(1, 2)
        query, key, value = product.split([h, g, g], 1)
        masked = torch.finfo(dtype).min
        mask = torch.full((rows, 1, 1, length), masked, dtype=dtype, device=device)
        mask[..., : position + 1] = 0.0
        mask[0, ..., : position // 2] = masked
        keys, values = (normal(rows, g, length, d) for _ in range(2))
        prefix_keys, prefix_values = (
            normal(1, g, prefix_length, d) if heads.with_prefix else None for _ in range(2)
        )
        index = torch.full((1,), position, dtype=torch.long, device=device)
        scale = d**-0.5
        return cls(query, key, value, keys, values, mask, index, prefix_keys, prefix_values, scale)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """All fields in turn."""
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Attended:
    """The attention's result, and the buffers after it."""

    mean: Float[Tensor, "b 1 h d"]
    keys: Float[Tensor, "b g s d"]
    values: Float[Tensor, "b g s d"]

    @classmethod
    def by_products(cls, token: OneToken) -> Attended:
        """In float64, from the inputs as they are now; nothing is changed."""
        keys = token.keys.index_copy(2, token.index, token.key)
        values = token.values.index_copy(2, token.index, token.value)
        prefix = None
        if token.prefix_keys is not None and token.prefix_values is not None:
            prefix = (token.prefix_keys.double(), token.prefix_values.double())
        mean = decode_attention(
            token.query.double(),
            keys.double(),
            values.double(),
            token.mask.double(),
            token.scale,
            prefix,
        )
        return cls(mean, keys, values)

    def difference(self, wanted: Attended) -> float:
        """The largest relative difference of a head's vector; not a number where one is not."""
        pairs = (
            (self.mean, wanted.mean),
            (self.keys, wanted.keys),
            (self.values, wanted.values),
        )
        return float(torch.stack([_largest(*pair) for pair in pairs]).max())


def _largest(found: Tensor, wanted: Tensor) -> Tensor:
    wanted = wanted.double()
    off: Tensor = (found.double() - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp(min=_TINY)
    return off.max()


Attend = Callable[..., Tensor]  # takes the arguments of OneToken, and writes the key and value


def attention_difference(heads: Heads, attend: Attend) -> float:
    """The largest relative difference of `attend` from the products, in float64, on random inputs.

    The buffers that it writes are compared, too. Waits for a GPU.
    """
    differences = []
    for position in POSITIONS:
        token = OneToken.random(heads, ROWS, LENGTH, position, PREFIX_LENGTH)
        wanted = Attended.by_products(token)
        mean = attend(*token.arguments)
        differences.append(Attended(mean, token.keys, token.values).difference(wanted))
    return float(torch.tensor(differences).max())  # not a number if one is not


_differences: dict[Heads, float] = {}  # found in this process


def check(heads: Heads, attend: Attend) -> None:
    """Compare `attend` with the products at the first use for such heads; never during a capture.

    Raises: FusedWrong where they differ by more than rounding; whatever `attend` raises.
    """
    if heads not in _differences:
        if heads.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return
        _differences[heads] = attention_difference(heads, attend)
    difference = _differences[heads]
    if not difference <= ROUNDING_ERROR.get(heads.dtype, 0.0):
        raise FusedWrong(f"the fused attention's results differ by {difference:.0e}")
