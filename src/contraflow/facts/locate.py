"""Errors about a fact, named by file and line where the facts came from a file."""

from __future__ import annotations

from pathlib import Path

from contraflow.errors import UserError
from contraflow.facts.fact import BadRowError, numbered_lines, parse_line


class FactError(UserError):
    """An error about one fact, which a user can correct in the file that it came from."""

    def __init__(self, fact_id: str, message: str) -> None:
        super().__init__(f"fact {fact_id}: {message}")
        self.fact_id = fact_id


def at_line(error: FactError, path: str | Path | None) -> UserError:
    """Return the error with `file:line:` before it; as it is if the file has no such fact."""
    if path is None:
        return error
    try:
        lines = numbered_lines(path)
    except UserError:
        return error
    for line, content in lines:
        try:
            is_meant = parse_line(content).fact_id == error.fact_id
        except BadRowError:
            continue
        if is_meant:
            return UserError(f"{path}:{line}: {error}")
    return error
