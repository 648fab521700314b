"""Warnings of settings that are without effect: typed by the user, used by nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def print_warnings(lines: Iterable[str]) -> None:
    """Print each line as a warning on standard error."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)
