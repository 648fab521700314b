"""Child processes, and how to start them without importing torch each time.

Importing what a training run needs takes three seconds. `program` starts a Python that can do
without torch; `ForkServer` imports once and forks a child per call.
"""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# replay and seeding name torch in annotations only.
WITHOUT_TORCH = """
import sys, types
sys.modules["torch"] = types.ModuleType("torch")
sys.modules["torch"].Tensor = object
"""


def child_environment() -> dict[str, str]:
    """Return what a child needs to import the package and these helpers, on one thread."""
    return {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def program(code: str, *arguments: str) -> dict[str, object]:
    """Return arguments of `subprocess.run` for code that needs no torch."""
    return {
        "args": [sys.executable, "-c", WITHOUT_TORCH + code, *arguments],
        "env": {**os.environ, **child_environment()},
    }


class ForkServer:
    """A process that has imported a module and forks children that call its functions."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.processes", module],
            env={**os.environ, **child_environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def running(self, function: str, *arguments: str, log: Path) -> Iterator[Child]:
        """Call the module's function, which returns an exit code; the child ends with the block.

        `log`: the file for what the child writes to standard output and standard error.
        """
        child = Child(self, int(self.ask("fork", function, str(log), *arguments)), log)
        try:
            yield child
        finally:
            if child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
                child.wait()

    def run(self, function: str, *arguments: str, log: Path) -> tuple[int, str]:
        """Call the module's function in a child; return its exit code and what it wrote."""
        with self.running(function, *arguments, log=log) as child:
            return child.wait(), log.read_text()

    def ask(self, *words: str) -> str:
        """Send one request to the server and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End the server."""
        self._process.communicate()


class Child:
    """A forked process. Only the server may wait for it, because it is the server's child."""

    def __init__(self, server: ForkServer, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self._server = server
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code (minus the number of the signal that ended it), None if it runs."""
        if self._code is None:
            answer = self._server.ask("poll", str(self.pid))
            self._code = int(answer) if answer else None
        return self._code

    def wait(self, timeout: float = 120.0) -> int:
        """Return the exit code when the child has ended."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"still running: {self.log.read_text()}"
            time.sleep(0.02)
        return code


def serve(module: str) -> None:
    """Answer the requests of a `ForkServer` until its end of the pipe is closed."""
    __import__(module)
    for line in sys.stdin:
        kind, *words = json.loads(line)
        if kind == "fork":
            function, log, *arguments = words
            pid = os.fork()
            if pid == 0:
                _call(f"{module}:{function}", Path(log), arguments)
            answer = str(pid)
        else:
            pid, status = os.waitpid(int(words[0]), os.WNOHANG)
            answer = str(os.waitstatus_to_exitcode(status)) if pid else ""
        print(answer, flush=True)


def _call(function: str, log: Path, arguments: list[str]) -> None:
    """Be the child: call the function with the log as output, and exit with what it returns."""
    code = 1
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        code = pkgutil.resolve_name(function)(*arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
