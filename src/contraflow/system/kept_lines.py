"""Files that are appended to, one JSON object a line; a kill or a full disk may cut the last.

What is appended behind a cut line would be glued to it and never be read again, so the file is cut
back to its whole lines before anything is added. A file that holds something else is left as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from contraflow.errors import UserError, on_one_line
from contraflow.system.files import write_error
from contraflow.system.progress import print_plain

Line = TypeVar("Line", bound=msgspec.Struct)


def kept_lines(path: Path, line_type: type[Line], *, what: str, remedy: str) -> list[Line]:
    """Read the whole lines of a file and cut off a last one that is damaged; none if no file.

    A last line is damaged if it has no end or is not JSON; one printed line says that it is gone.

    Args:
        what, remedy: for messages, as "an answer that an audit wrote" and "its question will be
            asked again".
    Raises: UserError naming file and line for a line of another kind, or if the file cannot be
        read or cut back.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise write_error(path, error) from None
    size = _undamaged(content)
    numbered = enumerate(content[:size].split(b"\n"), start=1)
    found = [
        _decoded(line, line_type, f"{path}:{number}", what, remedy)
        for number, line in numbered
        if line
    ]
    if size < len(content):
        if not found and not _opens_with(content[size:], line_type.__struct_fields__[0]):
            raise UserError(f"{path}: is not {what}; move the file, or choose another output")
        try:
            os.truncate(path, size)
        except OSError as error:
            raise write_error(path, error) from None
        print_plain(f"{path}: its last line was damaged and is dropped; {remedy}")
    return found


def holds_lines(path: Path, first_field: str) -> bool:
    """Whether a file is missing or empty, or may have been written line by line by us.

    Args:
        first_field: of the objects in it.
    Raises: UserError if the file cannot be read.
    """
    try:
        if not path.exists():
            return True
        with path.open("rb") as file:
            return _opens_with(file.read(256), first_field)
    except OSError as error:
        raise write_error(path, error) from None


def _opens_with(content: bytes, first_field: str) -> bool:
    """Whether content is the beginning of such an object, also of a cut one; zeros are none."""
    opening = b'{"%s":' % first_field.encode()
    content = content.lstrip(b"\0 \t\r\n")
    return content[: len(opening)] == opening[: len(content)]


def _undamaged(content: bytes) -> int:
    """The size of a file without a last line that is cut or not JSON, in bytes."""
    n_whole = content.rfind(b"\n") + 1
    if n_whole < len(content) or n_whole == 0:
        return n_whole
    start = content.rfind(b"\n", 0, n_whole - 1) + 1
    return n_whole if _is_json(content[start:n_whole]) else start


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line.strip() or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    except RecursionError:  # JSON of another kind, which is refused
        return True
    return True


def _decoded(line: bytes, line_type: type[Line], place: str, what: str, remedy: str) -> Line:
    try:
        return msgspec.json.decode(line, type=line_type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{place}: is not {what} ({on_one_line(error)}); delete the line, and {remedy}"
        ) from None
