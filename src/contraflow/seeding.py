"""Derived random streams: the same (seed, step, rank, purpose) gives the same random numbers.

No generator state has to be saved for an exact resume, ranks have different streams, and no global
generator is used.
"""

from __future__ import annotations

import hashlib
import random

import torch


def derived_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends only on the parts, unlike Python's salted `hash`."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_rng(*parts: int | str, device: torch.device | None = None) -> torch.Generator:
    """Return a new torch generator, seeded from the parts."""
    return torch.Generator(device=device or "cpu").manual_seed(derived_seed(*parts))


def python_rng(*parts: int | str) -> random.Random:
    """Return a new Python generator, seeded from the parts."""
    return random.Random(derived_seed(*parts))
