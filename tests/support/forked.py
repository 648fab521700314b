"""Processes that need not import torch: a server has imported it, and forks a child for each call.

Importing what training needs takes seconds. Tests call functions by a `ForkServer`. For a command
that the code under test starts there is `python -m support.forked MODULE:FUNCTION WORD…`, a small
client: the child has its folder, environment and output, gets its SIGINT and SIGTERM, dies with it,
and gives it its exit code.
"""

from __future__ import annotations

import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.processes import child_environment

SERVER = "CONTRAFLOW_TEST_FORKS"  # the variable that tells a command where the server listens
ODD_RANKS = "CONTRAFLOW_TEST_FORKS_OF_ODD_RANKS"  # and to ranks 1, 3, … of several
IMPORTED = ("contraflow.training.job", "support.runs")
FORWARDED = (signal.SIGINT, signal.SIGTERM)


class Child:
    """A forked process with a session of its own, for whoever called it, with whom it ends.

    Its methods are those of a `subprocess.Popen`.
    """

    def __init__(
        self,
        address: str,
        function: str,
        words: Sequence[str],
        outputs: tuple[int, int],
        environment: Mapping[str, str],
    ) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        socket.send_fds(self._connection, [b"."], outputs)
        call = {"function": function, "words": words, "folder": str(Path.cwd())}
        request = json.dumps({**call, "environment": dict(environment)})
        self._connection.sendall(request.encode() + b"\n")
        self._answers = self._connection.makefile("rb", buffering=0)
        self.pid = int(self._answers.readline())
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, -9 of a killed child, or None if it still runs."""
        return self._poll(0.0)

    def wait(self, timeout: float | None = 120.0) -> int:
        """Return the exit code when the child has ended."""
        code = self._poll(timeout)
        assert code is not None, f"still running after {timeout} s"
        return code

    def kill(self) -> None:
        """Kill the child if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _poll(self, timeout: float | None) -> int | None:
        if self._code is None and select.select([self._connection], [], [], timeout)[0]:
            self._code = int(self._answers.readline() or -signal.SIGKILL)
            with suppress(ProcessLookupError):  # its files and locks are closed only then
                for _ in range(10_000):
                    os.kill(self.pid, 0)
                    time.sleep(0.001)
        return self._code


class ForkServer:
    """For tests: calls functions `MODULE:NAME` of words that return an exit code."""

    def __init__(self, address: str) -> None:
        self.address = address

    def start(self, function: str, *words: str, log: Path) -> Child:
        """Call a function in a child.

        `log`: the file to which the child's standard output and standard error are appended.
        """
        environment = {**os.environ, **child_environment()}
        with log.open("ab") as output:
            outputs = (output.fileno(), output.fileno())
            return Child(self.address, function, words, outputs, environment)

    @contextmanager
    def running(self, function: str, *words: str, log: Path) -> Iterator[Child]:
        """Call a function in a child that ends with the block."""
        child = self.start(function, *words, log=log)
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    def run(self, function: str, *words: str, log: Path) -> tuple[int, str]:
        """Call a function in a child; return its exit code and what it wrote."""
        with self.running(function, *words, log=log) as child:
            return child.wait(), log.read_text()

    def command(self, function: str, *words: str) -> list[str]:
        """Return a command line that calls a function in a child."""
        return [sys.executable, "-m", "support.forked", function, *words]


@contextmanager
def serving() -> Iterator[ForkServer]:
    """Start a server for the block."""
    with tempfile.TemporaryDirectory(prefix="cf-", dir="/tmp") as folder:  # for a short path
        address = f"{folder}/s.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            server = subprocess.Popen(
                [sys.executable, "-c", "from support.forked import serve; serve()"],
                env={**os.environ, **child_environment(), SERVER: str(listener.fileno())},
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
            )
        try:
            yield ForkServer(address)
        finally:
            server.communicate()


def serve() -> None:
    """Be the server: fork a child for each caller until standard input is closed."""
    for module in IMPORTED:
        __import__(module)
    listener = socket.socket(fileno=int(os.environ[SERVER]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    with selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in ready.select()):
            caller, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _be_child(caller)
            caller.close()
    os._exit(0)  # at once: torch takes a second to end in order


def _be_child(caller: socket.socket) -> None:
    code = 1
    try:
        call = _take_over(caller)
        caller.send(f"{os.getpid()}\n".encode())
        threading.Thread(target=_die_with, args=[caller], daemon=True).start()
        code = _code_of(call["function"], call["words"])
        sys.stdout.flush()
        sys.stderr.flush()
        caller.send(f"{code}\n".encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _take_over(caller: socket.socket) -> dict[str, Any]:
    """Take the caller's folder, environment and outputs; return what it calls."""
    from lightning_utilities.core.rank_zero import rank_zero_only

    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, outputs, _, _ = socket.recv_fds(caller, 1, 2)
    call: dict[str, Any] = json.loads(caller.makefile().readline())
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    if "RANK" in os.environ:
        rank_zero_only.rank = int(os.environ["RANK"])  # Lightning reads it when it is imported
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for target, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, target)
    return call


def _code_of(function: str, words: list[str]) -> int:
    """The exit code of a process that ends with `sys.exit(function(words))`."""
    try:
        code = pkgutil.resolve_name(function)(words)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        return 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        return 1
    return int(code or 0)


def _die_with(caller: socket.socket) -> None:
    caller.recv(1)  # the caller sends nothing more, so this is its end
    os.kill(os.getpid(), signal.SIGKILL)


def _send(number: int, pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def main(function: str, *words: str) -> int:
    """Be a command: have the function called in a child and return its exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    is_odd = int(os.environ.get("RANK", "0")) % 2 == 1
    address = os.environ[ODD_RANKS if is_odd and ODD_RANKS in os.environ else SERVER]
    child = Child(address, function, words, (1, 2), os.environ)
    for number in FORWARDED:
        signal.signal(number, lambda got, _: _send(got, child.pid))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    code = child.wait(None)
    if code < 0:
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
