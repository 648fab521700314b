"""Refuse files that are no UTF-8 text before a parser names a wrong reason."""

from __future__ import annotations

from pathlib import Path

from contraflow.errors import UserError

HEAD_BYTES = 4
UTF8_BOM = b"\xef\xbb\xbf"
# UTF-32 LE starts with the mark of UTF-16 LE, so it is tested first.
_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def refuse_utf16(path: Path, head: bytes) -> None:
    """Check the first `HEAD_BYTES` bytes of a file that should be UTF-8.

    Without a byte order mark UTF-16 shows by a zero byte in its first (ASCII) character.

    Raises: UserError for UTF-16 and UTF-32.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            raise UserError(f"{path}: is {name}; save as UTF-8")
    if b"\0" in head[:2]:
        raise UserError(f"{path}: is UTF-16 or not text; save as UTF-8")
