"""Refusals of values out of range, by the key that a user typed."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

from contraflow.errors import UserError


def check(ok: bool, key: str, value: Any, needs: str) -> None:
    """Refuse a value out of range, by its key. Raises: UserError."""
    if not ok:
        raise UserError(f"{key}={value}: must be {needs}")


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is no choice, naming the choices. Raises: UserError."""
    check(value in choices, key, value, f"one of {', '.join(choices)}")


def check_finite(part: Any, prefix: str = "") -> None:
    """Refuse infinities and NaN anywhere in a tree of settings, by their keys. Raises: UserError."""
    for item in fields(part):
        value = getattr(part, item.name)
        if is_dataclass(value):
            check_finite(value, f"{prefix}{item.name}.")
        elif isinstance(value, float):
            check(math.isfinite(value), prefix + item.name, value, "a finite number")
