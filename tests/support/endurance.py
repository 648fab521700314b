"""How often a fault is caused: a few times, or with `make endurance` often enough to trust."""

from __future__ import annotations

import os

ENDURANCE = "CONTRAFLOW_ENDURANCE"


def times(few: int, many: int) -> int:
    """`few`, or `many` where the environment asks for endurance."""
    return many if os.environ.get(ENDURANCE) else few
