"""Gumbel noise of a token tree: a function of a seed and of the path, not of the batch.

Every node has a key, which is the state of a SplitMix64 generator (Steele, Lea and Flood 2014,
"Fast splittable pseudorandom number generators"). Its first outputs are the noise of the node's
children, the next ones are their keys. So a search of another width, batch size or device sees the
same noise: the first 8 of 64 questions are the 8 questions of a smaller search.

int64 arithmetic wraps around, so it is arithmetic modulo 2^64; only shifts need a mask.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def _signed(x: int) -> int:
    """The int64 with the bits of an unsigned number."""
    return x - (1 << 64) if x >> 63 else x


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def root_keys(n: int, rng: torch.Generator, device: torch.device) -> Int[Tensor, " n"]:
    """Draw the keys of n roots: those of n calls for one, also on a GPU.

    There a call gives each of its numbers a stream of its own.
    """
    keys = [torch.randint(0, 2**63 - 1, (1,), generator=rng, device=device) for _ in range(n)]
    return torch.cat(keys) if keys else torch.empty(0, dtype=torch.long, device=device)


def root_gumbel(keys: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Return the noise of roots: the perturbed log-probability of their likeliest leaf."""
    return _gumbel(_mix(keys))


def children_gumbel(keys: Int[Tensor, " m"], n_children: int) -> Float[Tensor, "m n"]:
    """Return independent standard Gumbel noise, in float64, of each child of each node."""
    steps = torch.arange(1, n_children + 1, device=keys.device) * _GAMMA
    return _gumbel(_mix(keys[:, None] + steps))


def child_keys(
    keys: Int[Tensor, " m"], child: Int[Tensor, " m"], n_children: int
) -> Int[Tensor, " m"]:
    """Return the key of one child of each node, of the n_children that a node has."""
    return _mix(keys + (n_children + 1 + child) * _GAMMA)


def _mix(z: Int[Tensor, "*s"]) -> Int[Tensor, "*s"]:
    """The output function of SplitMix64."""
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _shift(z: Int[Tensor, "*s"], bits: int) -> Int[Tensor, "*s"]:
    """Shift right without copies of the sign bit."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _gumbel(z: Int[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    # 52 bits: with 53, adding a half would round the largest value to 1, whose noise is infinite.
    u = (_shift(z, 12).double() + 0.5) * 2.0**-52
    return -(-u.log()).log()
