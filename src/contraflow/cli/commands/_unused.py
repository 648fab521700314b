"""Warnings of settings that are without effect: typed by the user, used by nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from contraflow.settings.keys import config_keys, group_names, override_key


def print_warnings(lines: Iterable[str]) -> None:
    """Print each line as a warning on standard error."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)


def not_read(overrides: Sequence[str], command: str, read: Sequence[str]) -> Iterator[str]:
    """A line for each setting that a command does not read.

    read: what it does read, as sections or keys: `judge`, `model.device`. Groups of the user's own
        folder may set any of these.
    """
    packaged = {*group_names(), *config_keys()}
    for override in overrides:
        key = override_key(override)
        is_read = any(f"{key}.".startswith(f"{name}.") for name in (*read, "experiment"))
        if key.partition(".")[0] in packaged and not is_read:
            yield f"{override} has no effect; {command} reads {', '.join(read)}"
