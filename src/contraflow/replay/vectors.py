"""Near-duplicates by meaning: sentence vectors in one byte a dimension, compared in whole numbers.

Whole numbers, so that the server's script and this side agree to the last bit on what is near.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from operator import mul

Embed = Callable[[list[str]], list[bytes]]  # texts -> what `quantize` makes of their unit vectors


def quantize(vectors: Sequence[Sequence[float]]) -> list[bytes]:
    """Unit vectors as signed bytes: x -> round(127 x). The cosine of two moves by less than 0.01."""
    return [array("b", (round(127 * x) for x in vector)).tobytes() for vector in vectors]


def near_vectors(a: bytes, b: bytes, threshold: float) -> bool:
    """Whether the cosine distance 1 - cos(a, b) lies below the threshold.

    Vectors of different lengths (or none at all) are never near: they are of different encoders.
    """
    if not a or len(a) != len(b):
        return False
    x, y = array("b", a), array("b", b)
    squares = sum(map(mul, x, x)) * sum(map(mul, y, y))
    return bool(squares > 0 and 1 - sum(map(mul, x, y)) / math.sqrt(squares) < threshold)
