"""One process at a time trains in a run folder: a scheduler may restart a run too early."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contraflow.errors import UserError


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases however this process ends.

    File systems without locks, and folders that cannot be created, are used without one.

    Raises: UserError when another process holds the lock.
    """
    lock = _open(folder / "lock")
    try:
        if lock is not None:
            _acquire(lock, folder)
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _open(path: Path) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:  # `open_folder` reports it
        return None


def _acquire(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{folder}: another process trains in this folder; wait for it to end, or choose "
            "another name=…"
        ) from None
    except OSError:  # a file system without locks
        pass
