"""The numbers of a caller who samples in Python: what the command line refuses, too."""

from __future__ import annotations

import math
from numbers import Integral, Real

from contraflow.errors import UserError


def check_count(key: str, n: object) -> None:
    """Raises: UserError unless ``n`` is a whole number of at least 1."""
    _check_whole(key, n)
    if n < 1:  # type: ignore[operator]
        raise UserError(f"{key}={n}: must be at least 1")


def check_draws(temperature: object, seed: object) -> None:
    """Raises: UserError unless the temperature is finite and above 0 and the seed is whole."""
    is_number = not isinstance(temperature, bool) and isinstance(temperature, Real)
    if not (is_number and math.isfinite(temperature) and temperature > 0):  # type: ignore[operator,arg-type]
        raise UserError(f"temperature={temperature!r}: must be a number above 0")
    _check_whole("seed", seed)


def _check_whole(key: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UserError(f"{key}={value!r}: must be a whole number")
