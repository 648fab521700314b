"""Near-duplicates by meaning: sentence vectors of one byte per dimension, compared in integers.

With integers, the server's script and the memory store decide identically to the last bit.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from operator import mul

# Texts -> their unit sentence vectors, quantized by `quantize`.
Embed = Callable[[list[str]], list[bytes]]


def quantize(vectors: Sequence[Sequence[float]]) -> list[bytes]:
    """Unit vectors as signed bytes: x -> round(127 x).

    The cosine of two vectors changes by less than 0.01.
    """
    quantized: list[bytes] = []
    for vector in vectors:
        quantized.append(array("b", (round(127 * x) for x in vector)).tobytes())
    return quantized


def near_vectors(a: bytes, b: bytes, threshold: float) -> bool:
    """Whether the cosine distance 1 - cos(a, b) is below the threshold.

    Vectors of different lengths, and empty ones, are never near: they come from different encoders.
    """
    if not a or len(a) != len(b):
        return False
    x = array("b", a)
    y = array("b", b)
    squares = sum(map(mul, x, x)) * sum(map(mul, y, y))
    return bool(squares > 0 and 1 - sum(map(mul, x, y)) / math.sqrt(squares) < threshold)
