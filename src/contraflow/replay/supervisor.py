"""Runs the embedded server while its owner lives. A separate program: standard library only.

The server is not simply a child of the training process. Ctrl-C and a job manager's SIGTERM go to
all processes at once: they would stop the server while the trainer still writes its checkpoint. And
a trainer killed with -9 cannot clean up. So this supervisor has a session of its own. It restarts
the server if the server is killed, and stops it when the owner closes the pipe on stdin or is gone.

Usage: supervisor.py OWNER_PID LOCK_FILE SOCKET_FOLDER_TO_REMOVE|- SERVER [ARGUMENT ...]
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time

EXIT_LOCKED = 75  # another process runs a server on this folder
LOCK_PATIENCE_S = 3.0  # the server of a killed run needs a moment to write and exit
_POLL_S = 0.25
# A server that exits by itself sooner than this cannot start. One that is killed by a signal so
# soon, more than _EARLY_EXITS times in a row, crashes on its data.
_HEALTHY_S = 1.0
_EARLY_EXITS = 5


def main(owner: int, lock_file: str, socket_folder: str, command: list[str]) -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    lock = _lock(lock_file, owner)
    if lock is None:
        return EXIT_LOCKED
    # The owner connects only after this message: before it, another owner's server could answer.
    os.write(1, b"locked")
    try:
        return _run_server(owner, command, lock)
    finally:
        if socket_folder != "-":
            shutil.rmtree(socket_folder, ignore_errors=True)


def _lock(path: str, owner: int) -> int | None:
    """Descriptor of the locked file, or None if another process keeps the lock.

    The server inherits the descriptor, so the lock is free only when supervisor and server are
    gone.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline or os.getppid() != owner:
                return None
            time.sleep(0.1)


def _run_server(owner: int, command: list[str], lock: int) -> int:
    early_exits = 0
    while True:
        started = time.monotonic()
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=(lock,),
            preexec_fn=_die_with_supervisor,  # noqa: PLW1509 - this program has one thread
        )
        while server.poll() is None:
            if os.getppid() != owner or select.select([0], [], [], _POLL_S)[0]:
                return _stop(server)
        early_exits = early_exits + 1 if time.monotonic() - started < _HEALTHY_S else 0
        # A return code of 0 or more: the server exited by itself and was not killed.
        cannot_start = early_exits and server.returncode >= 0
        if os.getppid() != owner or cannot_start or early_exits > _EARLY_EXITS:
            return abs(server.returncode) or 1


def _stop(server: subprocess.Popen[bytes]) -> int:
    server.terminate()
    try:
        return server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def _die_with_supervisor() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
