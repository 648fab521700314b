"""Atomic file writes, appends, and error messages for failed writes and full disks."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

from contraflow.errors import UserError
from contraflow.system.destinations import file_behind, is_stream, is_unusable, open_stream

_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Extensions in Rust and C++ report a full disk only in the message text.
_FULL_TEXT = re.compile(r"No space left on device|Disk quota exceeded|os error 28\b")


def is_disk_full(error: BaseException) -> bool:
    """Whether there is no space, no quota, or the file exceeds the size limit of this process."""
    if isinstance(error, OSError) and error.errno in _FULL_ERRNOS:
        return True
    return _FULL_TEXT.search(str(error)) is not None


def write_error(path: Path, error: OSError) -> UserError:
    """Return the `UserError` for a file that could not be written; the caller raises it."""
    remedy = "check the folder"
    if is_disk_full(error):
        remedy = "free some space and start the same command again"
    elif isinstance(error, BrokenPipeError):
        remedy = "its reader has closed it; keep it open until all is written"
    return UserError(f"{path}: cannot be written ({error.strerror}); {remedy}")


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Convert full-disk errors of a library to one that names `folder`; they rarely name a file.

    Raises: UserError on a full disk; other exceptions pass unchanged.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        earlier = _earlier_user_error(error)
        if earlier is not None:
            raise earlier from None
        raise UserError(
            f"{folder}: the disk is full; free some space and start the same command again"
        ) from error


def _earlier_user_error(error: BaseException) -> UserError | None:
    """Return the `UserError` during whose clean-up the disk was full again, if there was one."""
    earlier = error.__context__
    while earlier is not None and not isinstance(earlier, UserError):
        earlier = earlier.__context__
    return earlier


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` once it is complete and on the disk.

    Through a link, the file that it leads to is replaced, and the link stays; permissions and
    owner of the old file stay too. A pipe or a character device (`system.destinations`) cannot be
    replaced: it is written to directly, so its reader also gets the bytes of a block that fails.

    If the block fails, the old file stays. Raises: OSError if the file cannot be written, and for
    a folder, a disk or a socket.
    """
    if is_stream(path):
        with open_stream(path) as stream:
            yield stream
        return
    path = file_behind(path)
    refuse_unusable(path)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            take_rights(file, path)
            yield file
            file.flush()
            # Before the rename: some disks report a full disk only here, and after a power
            # failure the new name could refer to an empty file.
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def refuse_unusable(path: Path) -> None:
    """Raises: OSError where a path is neither a file, nor a stream, nor free."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if is_unusable(path):
        raise OSError(errno.EINVAL, "it is a disk or a socket", str(path))


def take_rights(file: IO[bytes], path: Path) -> None:
    """Give a file the permissions and the owner of the one that it will replace, if there is one.

    Its owner may write to it in any case; an owner that only root can set stays as it is.
    """
    with suppress(OSError):
        old = path.stat()
        os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode) | stat.S_IWUSR)
        os.fchown(file.fileno(), old.st_uid, old.st_gid)


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """Write one line each and return their number; see `whole_file` for links and pipes.

    Raises: UserError if the file cannot be written.
    """
    count = 0
    try:
        with whole_file(path) as file:
            for line in lines:
                file.write(line + b"\n")
                count += 1
    except OSError as error:
        raise write_error(path, error) from None
    return count


def write_atomically(path: str | Path, content: bytes | memoryview) -> None:
    """Write a file by a rename, and create its folder; see `whole_file` for links and pipes.

    Raises: UserError if the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(content)
    except OSError as error:
        raise write_error(path, error) from None


def append(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Append to a file.

    Args:
        sync: wait until the content is on the disk, where a power failure leaves it.
    Raises: UserError if the file cannot be written; a part of `content` may be in it then.
    """
    try:
        with path.open("ab") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise write_error(path, error) from None


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file up to the first line that is incomplete.

    A kill or a full disk can cut off the last line of a file that is appended to. A line that is
    not a JSON object counts as incomplete. A missing file has no rows.
    """
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # not JSON, or not UTF-8
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows


def _remove_leftovers(path: Path) -> None:
    """Delete the temporary files of killed writers, which could fill a small disk."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        pid = leftover.name.split(".")[-2]
        if pid.isdigit() and not _is_alive(int(pid)):
            leftover.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        return True
    return True
