"""Whether a folder can be written, found out before anything slow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from contraflow.errors import UserError


def check_out_folder(key: str, folder: Path) -> None:
    """Try to write to the nearest existing parent; creates no folder.

    Raises: UserError for a file, for the standard output, and for a folder that cannot be written.
    """
    if str(folder) == "-":
        raise UserError(f"{key}=-: a folder cannot go to the standard output; name one")
    if folder.is_file():
        raise UserError(f"{key}={folder}: is a file; name a folder with {key}=…")
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        try_writing(existing)
    except OSError as error:
        raise not_writable(key, folder, error) from None


def try_writing(folder: Path) -> None:
    """Write a block to a file without a name. Raises: OSError."""
    # Permission bits do not reveal a read-only or full disk.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x" * 4096)


def not_writable(key: str, path: Path, error: OSError) -> UserError:
    """The error of an argument whose path cannot be written; the caller raises it."""
    reason = (error.strerror or str(error)).lower()
    return UserError(
        f"{key}={path}: cannot be written ({reason}); "
        f"free or unlock that folder, or choose another {key}=…"
    )
