"""A real Ray head that runs already: what is refused there before any model loads."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.processes import child_environment
from support.ray import needs_ray

pytestmark = [needs_ray, pytest.mark.slow]

# Lets the cluster say that it was started by another Ray, as a head of that version would.
OTHER_VERSION = """
import json, os, ray
from ray.experimental import internal_kv as kv

ray.init(address=os.environ["HEAD"], logging_level="ERROR")
told = json.loads(kv._internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster"))
changed = json.dumps({**told, "ray_version": "2.40.0"}).encode()
kv._internal_kv_put(b"CLUSTER_METADATA", changed, overwrite=True, namespace=b"cluster")
"""


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a head with two CPUs, whose token this process and its children know."""
    environment = {
        **child_environment(),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Its sockets need a short path.
    with tempfile.TemporaryDirectory(
        prefix="rh-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        ray = Path(sys.executable).with_name("ray")
        options = ["--num-cpus=2", "--include-dashboard=false", "--block"]
        process = subprocess.Popen(
            [ray, "start", "--head", f"--port={port}", f"--temp-dir={folder}", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            time.sleep(5)  # the head answers before its node has joined
            return
    raise AssertionError("the head did not start")


def refusal(folder: Path, *words: str) -> str:
    """What `contraflow train` says on the last line, with exit code 2."""
    command = [sys.executable, "-m", "contraflow.cli", "train", f"run_dir={folder / 'run'}"]
    started = time.monotonic()
    ended = subprocess.run(
        [*command, "exchange=actors", "replay=embedded", "logger=none", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert ended.returncode == 2, (ended.stderr, time.monotonic() - started)
    assert "preparing models" not in ended.stderr
    return ended.stderr.strip().splitlines()[-1]


def test_what_a_running_cluster_cannot_do_is_refused_early(head: str, tmp_path: Path):
    address = f"exchange.address='{head}'"
    too_many = refusal(tmp_path, address, "exchange.actors=3")
    assert "exchange.actors=3: the Ray cluster has room for 2 (2 CPUs and 0 GPUs" in too_many
    no_gpu = refusal(tmp_path, address, "exchange.actors=1", "exchange.actor_gpus=0.5")
    assert "exchange.actors=1: the Ray cluster has room for 0" in no_gpu

    subprocess.run(
        [sys.executable, "-c", OTHER_VERSION], env={**os.environ, "HEAD": head}, check=True
    )
    other = refusal(tmp_path, address, "exchange.actors=1")
    assert f"exchange.address={head}: that cluster runs another version of Ray or Python" in other
    assert "was started with: Ray: 2.40.0" in other


def test_auto_without_a_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if any(process.name() == "gcs_server" for process in psutil.process_iter()):
        pytest.skip("another Ray runs on this machine, and auto would find it")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name, value in child_environment().items():
        monkeypatch.setenv(name, value)
    said = refusal(tmp_path, "exchange.address=auto")
    assert "exchange.address=auto: no Ray answers there" in said
