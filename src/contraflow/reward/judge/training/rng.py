"""Random generators seeded by names instead of call order: one seed gives one judge everywhere."""

import hashlib
import random


def stable_int(*parts: object) -> int:
    """A 64-bit integer from the text of `parts`; Python's `hash` differs between processes."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def derived_rng(*parts: object) -> random.Random:
    """A separate generator for one purpose: an additional draw elsewhere changes nothing here."""
    return random.Random(stable_int(*parts))
