"""Files that are there whole or not at all, lines that are appended, and what is said of a disk
that refuses.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

from contraflow.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TEXT = re.compile(
    r"No space left on device|Disk quota exceeded|os error 28\b"
)  # from Rust, from C++


def is_disk_full(error: BaseException) -> bool:
    """No space, no quota, or a file larger than this process may write."""
    return (isinstance(error, OSError) and error.errno in _FULL) or _FULL_TEXT.search(
        str(error)
    ) is not None


def refusal(path: Path, error: OSError) -> UserError:
    """What a user reads of a file that could not be written."""
    remedy = (
        "free some space and start the same command again"
        if is_disk_full(error)
        else "check the folder"
    )
    return UserError(f"{path}: cannot be written ({error.strerror}); {remedy}")


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """A library that meets a full disk seldom names the file: name the folder."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        if (told := _told_before(error)) is not None:
            raise told from None
        raise UserError(
            f"{folder}: the disk is full; free some space and start the same command again"
        ) from error


def _told_before(error: BaseException) -> UserError | None:
    """What was on its way to the user when cleaning up met the full disk too."""
    while (before := error.__context__) is not None:
        if isinstance(before, UserError):
            return before
        error = before
    return None


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name only when it is complete and on the disk: until then the old one
    stays.
    """
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(
                file.fileno()
            )  # some disks find out only now; and a power cut may keep the name alone
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomically(path: str | Path, content: bytes | memoryview) -> None:
    """Write a whole file and its folder; `UserError` if the disk refuses."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(content)
    except OSError as error:
        raise refusal(path, error) from None


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file; `UserError` if the disk refuses, which may leave a part of it."""
    try:
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise refusal(path, error) from None


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file that grew line by line, without a last one that a kill or a full
    disk tore.
    """
    rows: list[dict[str, Any]] = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _remove_leftovers(path: Path) -> None:
    """What writers of this file left that were killed: on a small disk a few of them are all of it."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        pid = leftover.name.split(".")[-2]
        if pid.isdigit() and not _is_alive(int(pid)):
            leftover.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
