"""Where an output goes: into the file behind a link, or byte by byte into a pipe or a device."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO


def file_behind(path: Path) -> Path:
    """Return the file that a path leads to through links; it need not exist.

    Raises: OSError for links that lead in a circle.
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except RuntimeError:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None


def is_stream(path: Path) -> bool:
    """Whether a path takes bytes in order and is never replaced.

    That is a named pipe, a character device (a terminal, /dev/null), or a descriptor that this
    process has open (/dev/stdout, /dev/fd/3), also where it is open on a regular file.
    """
    mode = _mode(path)
    if mode is None:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or _descriptor(path) is not None


def is_unusable(path: Path) -> bool:
    """Whether a path is there, but neither a file nor a stream: a folder, a disk or a socket."""
    mode = _mode(path)
    return mode is not None and not stat.S_ISREG(mode) and not is_stream(path)


def open_stream(path: Path, buffering: int = -1) -> IO[bytes]:
    """Open a stream; opening a named pipe waits for its reader.

    A descriptor is duplicated, so that the bytes follow what was written to it before.
    """
    descriptor = _descriptor(path)
    if descriptor is not None:
        return os.fdopen(os.dup(descriptor), "wb", buffering)
    return path.open("wb", buffering)


def write_all(file: IO[bytes], content: bytes | memoryview) -> None:
    """Write every byte, also to a file without a buffer, whose `write` may write only a part."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _mode(path: Path) -> int | None:
    """The type and permissions of what is behind the links; None if nothing is there."""
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _descriptor(path: Path) -> int | None:
    """The open descriptor of this process that a path names, or None."""
    own = Path(f"/proc/{os.getpid()}/fd")
    if _mode(path) is None or not own.is_dir():
        return None
    while True:  # ends: a path in a circle of links has no mode
        folder = path.parent.resolve()  # /dev/fd is a link to /proc/self/fd
        if folder == own and path.name.isdigit():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = folder / path.readlink()
