"""Files that an audit appends to, one JSON object a line; a kill or a full disk may cut the last.

What is appended behind a cut line would be glued to it and never be read again, so the file is cut
back to its whole lines before anything is added.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from contraflow.errors import UserError, on_one_line
from contraflow.system.files import write_error

Line = TypeVar("Line")


def kept_lines(path: Path, line_type: type[Line], *, what: str, remedy: str) -> list[Line]:
    """Read the whole lines of a file and cut off a last one that is not whole; none if no file.

    Args:
        what, remedy: for the message of an error, as "an answer" and "its question will be asked
            again".
    Raises: UserError naming file and line for a line of another kind, or if the file cannot be
        read or cut back.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
        n_whole = content.rfind(b"\n") + 1
        numbered = enumerate(content[:n_whole].split(b"\n"), start=1)
        found = [
            _decoded(line, line_type, f"{path}:{number}", what, remedy)
            for number, line in numbered
            if line
        ]
        if n_whole < len(content):
            os.truncate(path, n_whole)
    except OSError as error:
        raise write_error(path, error) from None
    return found


def _decoded(line: bytes, line_type: type[Line], place: str, what: str, remedy: str) -> Line:
    try:
        return msgspec.json.decode(line, type=line_type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{place}: is not {what} that an audit wrote ({on_one_line(error)}); delete the line, "
            f"and {remedy}"
        ) from None
