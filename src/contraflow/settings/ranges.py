"""Range checks of settings; the messages name the key that a user typed."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

from contraflow.errors import UserError


def check(ok: bool, key: str, value: Any, needs: str) -> None:
    """Check that a value is in range. Raises: UserError that names key, value and `needs`."""
    if not ok:
        raise UserError(f"{key}={value}: must be {needs}")


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that a value is one of the choices. Raises: UserError that lists the choices."""
    check(value in choices, key, value, f"one of {', '.join(choices)}")


def check_finite(part: Any, prefix: str = "") -> None:
    """Check that a tree of settings has neither infinities nor NaN. Raises: UserError."""
    for item in fields(part):
        value = getattr(part, item.name)
        if is_dataclass(value):
            check_finite(value, f"{prefix}{item.name}.")
        elif isinstance(value, float):
            check(math.isfinite(value), prefix + item.name, value, "a finite number")
