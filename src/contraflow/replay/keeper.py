"""Runs the embedded server for as long as its owner lives. A program of its own: standard library
only.

Why not simply a child of the training process: Ctrl-C and a job manager's SIGTERM go to all
processes at once and would take the server away while the trainer still writes its checkpoint, and
a trainer killed with -9 cannot clean up. So this keeper sits in a session of its own, starts the
server again if it is killed, and stops it when the owner closes the pipe on stdin or is gone.

Usage: keeper.py OWNER_PID LOCK_FILE SOCKET_FOLDER_TO_REMOVE|- SERVER [ARGUMENT ...]
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

EXIT_LOCKED = 75  # another process keeps a server on this folder
LOCK_PATIENCE_S = 3.0  # a killed run's server needs a moment to write and leave
_POLL_S = 0.25
_HEALTHY_S = 1.0  # a server that ended by itself before this cannot be started again
_EARLY_ENDS = 5  # and one that a signal ended this often, so soon, crashes on its data


def main(owner: int, lock_file: str, socket_folder: str, command: list[str]) -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    lock = _lock(lock_file, owner)
    if lock is None:
        return EXIT_LOCKED
    os.write(
        1, b"locked"
    )  # only now may the owner knock: before, another owner's server could answer
    try:
        return _keep(owner, command, lock)
    finally:
        if socket_folder != "-":
            shutil.rmtree(socket_folder, ignore_errors=True)


def _lock(path: str, owner: int) -> int | None:
    """Held by the keeper and, through inheritance, by the server: free only when both are gone."""
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


def _keep(owner: int, command: list[str], lock: int) -> int:
    early_ends = 0
    while True:
        started = time.monotonic()
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=(lock,),
            preexec_fn=_die_with_keeper,  # noqa: PLW1509 - this program has one thread
        )
        while server.poll() is None:
            if os.getppid() != owner or select.select([0], [], [], _POLL_S)[0]:
                return _stop(server)
        early_ends = early_ends + 1 if time.monotonic() - started < _HEALTHY_S else 0
        refused_to_start = (
            early_ends and server.returncode >= 0
        )  # it ended by itself: nobody killed it
        if os.getppid() != owner or refused_to_start or early_ends > _EARLY_ENDS:
            return abs(server.returncode) or 1


def _stop(server: subprocess.Popen[bytes]) -> int:
    server.terminate()
    try:
        return server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def _die_with_keeper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
