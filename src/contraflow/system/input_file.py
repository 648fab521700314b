"""A file that is given to be read: more than once, and as it is."""

from __future__ import annotations

import stat
from pathlib import Path

from contraflow.errors import UserError

# How a file begins: what it is, and how it is unpacked.
_PACKED = (
    (b"\x1f\x8b", "compressed with gzip", "unpack it first: gunzip -k"),
    (b"BZh", "compressed with bzip2", "unpack it first: bunzip2 -k"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it first: unxz -k"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first: unzstd"),
    (b"PK\x03\x04", "a zip archive, as an .xlsx table is", "save it as CSV, or first unzip"),
)
_HEAD_BYTES = max(len(head) for head, _, _ in _PACKED)


def require_file(path: Path, *, key: str = "", of: str = "file") -> None:
    """Check that a path is a file that can be read again.

    Args:
        key: of the argument, as in `in=`; goes before the path in a message.
        of: what the file is, such as "facts file".

    Raises: UserError if it is missing, a folder, compressed, or a pipe or device, which is empty
        when it is read again.
    """
    where = f"{key}={path}" if key else str(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"{where}: no such {of}; check the path") from None
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror}); check the path") from None
    if stat.S_ISDIR(mode):
        raise UserError(f"{where}: is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise UserError(
            f"{where}: is a pipe or a device, which can be read only once; save it to a file first"
        )
    _refuse_packed(path, where)


def _refuse_packed(path: Path, where: str) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror}); check the path") from None
    for opening, what, remedy in _PACKED:
        if head.startswith(opening):
            raise UserError(f"{where}: is {what}; {remedy} {path}")
