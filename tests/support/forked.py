"""`python -m support.forked MODULE:FUNCTION WORD…`: a command whose process has imported torch.

The code under test starts commands, and each would spend seconds on the same imports. Here a server
has imported them and forks a child for each command. The command itself is a small client: the
child has its folder, environment and output, gets its SIGINT and SIGTERM, dies with it, and gives
it its exit code.
"""

from __future__ import annotations

import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = "CONTRAFLOW_TEST_FORKS"  # the variable that tells the client where the server listens
FORWARDED = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def serving(module: str, environment: dict[str, str]) -> Iterator[str]:
    """A server that has imported the module; gives its address, a value for `SERVER`."""
    with tempfile.TemporaryDirectory(prefix="cf-", dir="/tmp") as folder:  # for a short path
        address = f"{folder}/s.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            server = subprocess.Popen(
                [sys.executable, "-c", "from support.forked import serve; serve()", module],
                env={**os.environ, **environment, SERVER: str(listener.fileno())},
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
            )
        try:
            yield address
        finally:
            server.communicate()


def serve() -> None:
    """Be the server: fork a child for each client until standard input is closed."""
    __import__(sys.argv[1])
    listener = socket.socket(fileno=int(os.environ[SERVER]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    with selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in ready.select()):
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _be_child(client)
            client.close()
    os._exit(0)  # at once: torch takes a second to end in order


def _be_child(client: socket.socket) -> None:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, outputs, _, _ = socket.recv_fds(client, 1, 2)
        call = json.loads(client.makefile().readline())
        os.chdir(call["folder"])
        os.environ.clear()
        os.environ.update(call["environment"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for target, output in zip((1, 2), outputs, strict=True):
            os.dup2(output, target)
        client.send(f"{os.getpid()}\n".encode())
        threading.Thread(target=_die_with, args=[client], daemon=True).start()
        code = _code_of(call["function"], call["words"])
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        client.send(f"{code}\n".encode())
    finally:
        os._exit(code)


def _code_of(function: str, words: list[str]) -> int:
    """The exit code of a process that ends with `sys.exit(function(words))`."""
    try:
        code = pkgutil.resolve_name(function)(words)
    except SystemExit as end:
        code = end.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
        return 1
    return int(code or 0)


def _die_with(client: socket.socket) -> None:
    client.recv(1)  # the client sends nothing more, so this is its end
    os.kill(os.getpid(), signal.SIGKILL)


def main(function: str, *words: str) -> int:
    """Be the client: have the function called in a child and return its exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ[SERVER])
        socket.send_fds(server, [b"."], [1, 2])
        call = {"function": function, "words": words, "folder": str(Path.cwd())}
        server.sendall(json.dumps({**call, "environment": dict(os.environ)}).encode() + b"\n")
        answers = server.makefile()
        child = int(answers.readline())
        for number in FORWARDED:
            signal.signal(number, lambda got, _: os.kill(child, got))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        code = answers.readline()
    if not code:  # the child was killed
        os.kill(os.getpid(), signal.SIGKILL)
    return int(code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
