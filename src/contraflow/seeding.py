"""Random streams that are derived, never shared: the same (seed, step, rank, purpose) gives the
same draws.

Nothing has to be saved for an exact resume, ranks never draw alike, and no global generator is
touched.
"""

from __future__ import annotations

import hashlib
import random

import torch


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from its parts; stable across processes and machines (no Python ``hash``)."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_rng(*parts: int | str, device: torch.device | None = None) -> torch.Generator:
    """A torch generator of its own for these parts."""
    return torch.Generator(device=device or "cpu").manual_seed(derived_seed(*parts))


def python_rng(*parts: int | str) -> random.Random:
    """A Python generator of its own for these parts."""
    return random.Random(derived_seed(*parts))
