"""One process at a time writes a folder: a scheduler may restart a run or an audit too early."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contraflow.errors import UserError

LOCK = "lock"
TRAINS = "another process trains in this folder; wait for it to end, or choose another name=…"


@contextmanager
def exclusive_lock(folder: Path, busy: str = TRAINS) -> Iterator[None]:
    """Hold the folder's lock, which the system releases however this process ends.

    File systems without locks, and folders that cannot be created, are used without one.

    Args:
        busy: who else may hold the lock, and the remedy; the error says it behind the folder.
    Raises: UserError when another process holds the lock.
    """
    lock = _open(folder / LOCK)
    try:
        if lock is not None:
            _acquire(lock, f"{folder}: {busy}")
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _open(path: Path) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:  # whoever writes the folder's files reports it
        return None


def _acquire(lock: int, held: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(held) from None
    except OSError:  # a file system without locks
        pass
