"""The server in the run folder serves one owner, keeps every write, and ends with its owner."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
import redis

from contraflow.errors import UserError
from contraflow.replay import supervisor
from contraflow.replay.base import SEEDED
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.settings.running import ReplayConfig
from support.processes import program
from support.replay import distinct, held, reference

SETTINGS = "embedded-tests", ReplayConfig()

_TRAINER = """
import os, signal, sys, time
from contraflow.settings.running import ReplayConfig
from contraflow.replay.embedded import EmbeddedReplay
from support.replay import distinct
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell started with &
store = EmbeddedReplay("embedded-tests", ReplayConfig(), sys.argv[1])
store.add(distinct("f", 5), [0.0, 1.0, 2.0, 3.0, 4.0])
print(store._client.info("server")["process_id"], store._process._supervisor.pid, flush=True)
"""

_ENDINGS = {
    "returns": "",
    "raises": "raise RuntimeError('boom')",
    "exits": "sys.exit(3)",
    "SIGKILL": "time.sleep(60)",
    "SIGTERM": "time.sleep(60)",
    "SIGINT": "time.sleep(60)",
    "lets a forked child exit": (
        "pid = os.fork()\nif pid == 0: sys.exit(0)\nos.waitpid(pid, 0); assert store.size() == 5"
    ),
}


def _train(folder: Path, ending: str) -> subprocess.Popen[str]:
    """Start a process that stores five questions in the folder and then ends in the given way."""
    return subprocess.Popen(
        **program(_TRAINER + ending, str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def _pids(trainer: subprocess.Popen[str]) -> list[int]:
    assert trainer.stdout is not None
    return [int(word) for word in trainer.stdout.readline().split()]


def _gone(pids: list[int], within: float = 8.0) -> bool:
    """Return whether the processes end in time; a zombie that nobody has waited for counts."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not any(_lives(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("ending", list(_ENDINGS))
def test_however_the_owner_ends_only_the_data_is_left(short_dir: Path, ending: str) -> None:
    with _train(short_dir, _ENDINGS[ending]) as trainer:
        pids = _pids(trainer)
        assert len(pids) == 2
        if ending.startswith("SIG"):
            assert all(map(_lives, pids))
            trainer.send_signal(signal.Signals[ending])
        trainer.wait(timeout=20)
    with EmbeddedReplay(*SETTINGS, short_dir) as store:  # at once: it waits for the lock
        expected = reference(*SETTINGS, [(distinct("f", 5), [0.0, 1.0, 2.0, 3.0, 4.0])])
        assert store.snapshot() == expected.snapshot()
    assert _gone(pids)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_the_group_leaves_time_for_a_checkpoint(short_dir: Path, name: str) -> None:
    """Ctrl-C reaches every process of the group, and so does the SIGTERM of a job manager."""
    ending = f"""
def stop(*_): raise KeyboardInterrupt
signal.signal(signal.{name}, stop)
try:
    print("armed", flush=True)
    time.sleep(60)
except KeyboardInterrupt: time.sleep(0.5); print(len(store.snapshot()) > 100, store.size())
"""
    with _train(short_dir, ending) as trainer:
        server, supervisor = _pids(trainer)
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == "armed\n"
        os.killpg(trainer.pid, signal.Signals[name])
        if name == "SIGTERM":
            os.kill(supervisor, signal.SIGTERM)
        assert trainer.stdout.read() == "True 5\n"
    assert _gone([server, supervisor])


def test_a_killed_server_is_started_again_and_nothing_is_lost(short_dir: Path) -> None:
    with EmbeddedReplay(*SETTINGS, short_dir) as store:
        time.sleep(1.1)  # sooner it would count as a server that cannot start
        store.add(distinct("f", 5), [0.0] * 5)
        saved = store.snapshot()
        old = store._client.info("server")["process_id"]
        os.kill(old, signal.SIGKILL)
        assert store.snapshot() == saved
        assert store.add(distinct("g", 2), [0.0] * 2) == 2
        new = store._client.info("server")["process_id"]
        assert new != old
    assert _gone([new], within=0.1)


def test_a_server_killed_again_and_again_is_started_each_time(short_dir: Path) -> None:
    with EmbeddedReplay(*SETTINGS, short_dir) as store:
        for i in range(3):  # at once, before the server counts as healthy
            store.add(distinct(f"f{i}", 5), [0.0] * 5)
            os.kill(store._client.info("server")["process_id"], signal.SIGKILL)
            assert store.size() == 5 * (i + 1)


def test_a_killed_supervisor_is_replaced_with_its_server(short_dir: Path) -> None:
    with EmbeddedReplay(*SETTINGS, short_dir) as store:
        store.add(distinct("f", 5), [0.0] * 5)
        saved, old = store.snapshot(), store._process._supervisor.pid
        server = store._client.info("server")["process_id"]
        os.kill(old, signal.SIGKILL)
        store._process._supervisor.wait()
        assert _gone([server]), "it goes with its supervisor"
        assert store.snapshot() == saved
        assert store.add(distinct("g", 2), [0.0] * 2) == 2
        pids = [store._process._supervisor.pid, store._client.info("server")["process_id"]]
    assert old not in pids and _gone(pids, within=0.5)


def test_only_this_user_reaches_it_and_by_no_port(short_dir: Path) -> None:
    with EmbeddedReplay(*SETTINGS, short_dir / "a run, with spaces ü%20") as store:
        assert store._client.config_get("port") == {"port": "0"}
        path = store._process._socket
        assert path.parent == short_dir / "a run, with spaces ü%20" / "replay"
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with redis.Redis.from_url(store.url) as other:
            assert other.ping()


def test_a_long_run_path_gets_a_short_temporary_socket(short_dir: Path) -> None:
    folder = short_dir / ("long" * 30)
    with EmbeddedReplay(*SETTINGS, folder) as store:
        path = store._process._socket
        assert folder not in path.parents
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        store.add(distinct("f", 2), [0.0, 1.0])
    assert not path.parent.exists()
    with EmbeddedReplay(*SETTINGS, folder) as store:
        assert store.size() == 2, "the data itself is in the run folder"


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let supervisors wait less for the lock of a folder; they run as a program of their own."""
    code = Path(supervisor.__file__).read_text()
    patience = f"LOCK_PATIENCE_S = {supervisor.LOCK_PATIENCE_S}"
    assert code.count(patience) == 1
    program_file = tmp_path / "supervisor.py"
    program_file.write_text(code.replace(patience, "LOCK_PATIENCE_S = 0.3"))
    monkeypatch.setattr(supervisor, "__file__", str(program_file))


@pytest.mark.usefixtures("_impatient")
def test_a_second_owner_of_the_folder_is_refused(short_dir: Path) -> None:
    with EmbeddedReplay(*SETTINGS, short_dir) as store:
        with pytest.raises(
            UserError, match=r"another process keeps the replay server in .*replay=redis"
        ):
            EmbeddedReplay(*SETTINGS, short_dir)
        assert store.size() == 0, "the first one goes on"


def test_a_folder_that_cannot_be_used_is_named(short_dir: Path) -> None:
    (short_dir / "file").write_text("not a folder")
    with pytest.raises(
        UserError, match=r"/file/replay cannot be used \(Not a directory\).*replay=memory"
    ):
        EmbeddedReplay(*SETTINGS, short_dir / "file")


def test_data_that_the_server_cannot_load_names_the_log(short_dir: Path) -> None:
    with EmbeddedReplay(*SETTINGS, short_dir) as store:
        store.add(distinct("f", 5), [0.0] * 5)
    manifest = next((short_dir / "replay").rglob("*.manifest"))
    manifest.write_text("ruined")
    with pytest.raises(
        UserError, match=r"did not start: see .*/replay/server\.log, or use replay=memory"
    ):
        EmbeddedReplay(*SETTINGS, short_dir)
    assert b"manifest" in (short_dir / "replay" / "server.log").read_bytes()


def test_a_resumed_store_keeps_what_was_seeded_since(short_dir: Path) -> None:
    entries = distinct("f", 4)
    with EmbeddedReplay(*SETTINGS, short_dir) as store:
        store.add(entries[:2], [0.0, 1.0])
        saved = store.snapshot()
        store.add([entries[2], msgspec.structs.replace(entries[3], sampler=SEEDED)], [2.0, 3.0])
    with EmbeddedReplay(*SETTINGS, short_dir) as store:
        store.resume(saved)
        assert held(store, "f") == {entries[i].question_ids for i in (0, 1, 3)}


def test_a_restored_snapshot_replaces_only_its_own_namespace(short_dir: Path) -> None:
    with EmbeddedReplay(*SETTINGS, short_dir) as store:
        store.add(distinct("f", 3), [0.0] * 3)
        saved = store.snapshot()
    with EmbeddedReplay("other", ReplayConfig(), short_dir) as other:
        other.add(distinct("f", 4), [0.0] * 4)
    with EmbeddedReplay(*SETTINGS, short_dir) as store:
        store.add(distinct("later", 2), [0.0] * 2)
        store.restore(saved)
        assert (store.size(), store.snapshot()) == (3, saved)
    with EmbeddedReplay("other", ReplayConfig(), short_dir) as other:
        assert other.size() == 4
