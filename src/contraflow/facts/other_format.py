"""A file that is given as a facts file, but is in another format: one message, with the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def array_message(path: str | Path, lines: Sequence[tuple[int, bytes]]) -> str | None:
    """What is wrong with a file that is a JSON array of objects; None for another file.

    lines: number and content of the lines that are not blank.
    """
    opening = b"".join(content for _, content in lines[:2])
    if b"".join(opening.split())[:2] not in (b"[{", b"[]"):
        return None
    return to_convert(path, "is a JSON array, but a facts file has one JSON object per line")


def is_table(path: str | Path) -> bool:
    """Whether a file is a table by its name."""
    return Path(path).suffix.lower() in (".csv", ".tsv")


def to_convert(path: str | Path, message: str) -> str:
    """A message with the command that makes facts of the file."""
    out = Path(path).with_suffix(".jsonl")
    if out == Path(path):
        out = out.with_stem(f"{out.stem}_lines")
    return f"{message}; convert it: contraflow data convert in={path} out={out}"
