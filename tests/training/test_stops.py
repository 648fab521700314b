"""What stops a run, what it leaves behind, and which of its checkpoints is called the best."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from contraflow.errors import UserError
from contraflow.evaluation.stages import STAGES
from contraflow.settings import EvaluationConfig, LoggerConfig
from contraflow.system import progress
from contraflow.training import job
from contraflow.training.checkpoints import AtomicCheckpointIO
from contraflow.training.evaluation import Evaluation
from contraflow.training.stopping import GracefulStop
from support.forked import ForkServer
from support.runs import (
    TRAIN,
    asks_to_stop_at,
    checkpoint,
    lines,
    tiny_config,
    use_tiny_parts,
    write_tiny_facts,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_a_non_finite_reward_stops_with_fact_and_question(tiny: Path, monkeypatch, bad: float):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    use_tiny_parts(monkeypatch.setattr, lambda *_: bad)
    with pytest.raises(
        UserError, match=rf"log_contradiction is {bad} for fact \w+-\w+, question '.+\?'"
    ):
        job.train(tiny_config(tiny))
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


def validates_as(values: dict[int, tuple[float, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace log R and log P_F of real validation records by numbers for the step."""
    original = job._Job._validate

    def validate(job: Any, step: int) -> Any:
        records = original(job, step)
        assert records, "validation is empty"
        log_reward, log_pf = values[step]
        return [msgspec.structs.replace(r, log_reward=log_reward, log_pf=log_pf) for r in records]

    monkeypatch.setattr(job._Job, "_validate", validate)


# log R and log P_F by step. Their differences are -1, 6, 7; at T = 2: 0.5, 6.5, 8.
VALIDATED = {2: (-3.0, -2.0), 4: (-1.0, -7.0), 6: (-2.0, -9.0)}


@pytest.mark.defect(11)
def test_best_is_chosen_by_validation_and_becomes_the_adapter(tiny: Path, monkeypatch):
    """In the old design it was the lowest training loss, and validation was empty."""
    from safetensors.torch import load_file

    validates_as(VALIDATED, monkeypatch)
    config = tiny_config(tiny)
    config.trainer.best_by = "val_log_reward"
    folder = job.train(config)
    assert checkpoint(folder, "best")["global_step"] == 4
    assert [row["val_log_reward"] for row in lines(folder) if "val_log_reward" in row] == [
        -3.0,
        -1.0,
        -2.0,
    ]
    assert [row["step"] for row in lines(folder) if "val_log_reward" in row] == [1, 3, 5]
    for name, stem in (("adapter", "best"), ("adapter_last", "last")):
        held = load_file(folder / name / "flow_head.safetensors")
        state = checkpoint(folder, stem)["state_dict"]
        assert torch.equal(held["inner.outer.weight"], state["lora.flow.inner.outer.weight"])
    assert not torch.equal(
        load_file(folder / "adapter" / "flow_head.safetensors")["inner.outer.weight"],
        load_file(folder / "adapter_last" / "flow_head.safetensors")["inner.outer.weight"],
    )


@pytest.mark.defect(11)
@pytest.mark.parametrize(
    ("temperature", "elbos"), [(1.0, [-1.0, 6.0, 7.0]), (2.0, [0.5, 6.5, 8.0])]
)
def test_best_is_by_default_the_highest_elbo_not_reward(
    tiny: Path, monkeypatch, temperature: float, elbos: list[float]
):
    validates_as(VALIDATED, monkeypatch)
    config = tiny_config(tiny)
    config.reward.reward_temp_start = config.reward.reward_temp_end = temperature
    folder = job.train(config)
    assert [row["val_elbo"] for row in lines(folder) if "val_elbo" in row] == pytest.approx(elbos)
    assert checkpoint(folder, "best")["global_step"] == 6


def test_the_final_evaluation_is_of_the_best_adapter(tiny: Path, monkeypatch):
    validates_as({2: (-1.0, -1.0), 4: (-3.0, -1.0), 6: (-2.0, -1.0)}, monkeypatch)
    measured: dict[str, torch.Tensor] = {}

    def measure(_evaluation: Any, stage: str, run: Any, *_: Any, **__: Any) -> None:
        measured[stage] = run.policy.flow.inner.outer.weight.detach().clone()

    monkeypatch.setattr(Evaluation, "_measure", measure)
    settings = EvaluationConfig(enabled=True, proportion_of=16)
    folder = job.train(tiny_config(tiny, evaluation=settings))
    assert set(measured) == set(STAGES)
    assert not measured["before"].any()
    best = checkpoint(folder, "best")["state_dict"]["lora.flow.inner.outer.weight"]
    assert torch.equal(measured["after"], best) and bool(best.any())


def test_best_is_remembered_over_a_resume(tiny: Path, monkeypatch):
    validates_as({2: (-1.0, -1.0), 4: (-3.0, -1.0), 6: (-2.0, -1.0)}, monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(2, patch)
        job.train(tiny_config(tiny))
    folder = job.train(tiny_config(tiny))
    assert checkpoint(folder, "best")["global_step"] == 2


@pytest.mark.defect(11)
def test_validation_has_the_final_untempered_reward(tiny: Path, monkeypatch):
    """log R of a record is log C + log P_Q, although the run is in its penalized phase at T = 3."""
    seen: list[Any] = []
    original = job._Job._validate

    def validate(job: Any, step: int) -> Any:
        seen.extend(original(job, step))
        return seen

    monkeypatch.setattr(job._Job, "_validate", validate)
    config = tiny_config(tiny)
    config.reward.question_failure_penalty = 0.0
    config.reward.answer_quality_threshold = -1e6
    folder = job.train(config)
    wanted = {
        json.loads(line)["fact_id"]
        for line in (folder / "validation_facts.jsonl").read_text().splitlines()
    }
    assert {r.fact_id for r in seen} == wanted != set()
    for r in seen:
        assert r.log_reward == pytest.approx(r.log_contradiction + r.log_p_question, abs=1e-4)


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP as a process without nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", ASKING)
def test_a_signal_during_a_checkpoint_stops_after_the_next_step(
    tiny: Path, monkeypatch, number: int
):
    """Lightning's handler would end the run between two steps, before loggers get the last one."""
    handlers = [signal.getsignal(n) for n in ASKING]
    original = AtomicCheckpointIO.save_checkpoint

    def save_checkpoint(
        self: AtomicCheckpointIO, saved: Any, path: Any, storage_options: Any = None
    ) -> None:
        original(self, saved, path, storage_options)
        if saved["global_step"] == 2:
            os.kill(os.getpid(), number)

    config = tiny_config(tiny, logger=LoggerConfig(csv=True, wandb="disabled"))
    config.trainer.checkpoint_every, config.trainer.validate_every = 2, 6
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted, match="stopped at step 3;"):
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", save_checkpoint)
        job.train(config)
    assert checkpoint(tiny / "run")["global_step"] == 3
    with (tiny / "run" / "csv" / "metrics.csv").open() as table:
        assert [row["step"] for row in csv.DictReader(table) if row["train/loss"]] == [
            "0",
            "1",
            "2",
        ]
    assert handlers == [signal.getsignal(n) for n in ASKING]


@pytest.mark.usefixtures("hangup")
def test_a_terminal_that_closes_asks_twice_and_gets_its_checkpoint(tmp_path: Path):
    """SIGHUP comes from the shell and from the kernel: the second one is not impatience."""
    stop = GracefulStop(tmp_path / "last.ckpt", 10)
    stop.setup()
    try:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop._got_signal
    finally:
        stop.restore()


def test_a_run_under_nohup_does_not_hear_its_terminal_close(tmp_path: Path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = GracefulStop(tmp_path / "last.ckpt", 10)
    try:
        stop.setup()
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop._got_signal
    finally:
        stop.restore()
        signal.signal(signal.SIGHUP, before)


def test_a_run_whose_reader_has_gone_stops_with_a_checkpoint(
    tiny: Path, monkeypatch, capfd: pytest.CaptureFixture[str]
):
    """Ctrl-C ends `tee` too: the next line that was printed ended the run without a checkpoint."""
    reading, writing = os.pipe()
    os.close(reading)
    gone = os.fdopen(writing, "w", buffering=1)
    original = AtomicCheckpointIO.save_checkpoint

    def lose_the_reader(self: Any, saved: Any, path: Any, storage_options: Any = None) -> None:
        original(self, saved, path, storage_options)
        if saved["global_step"] == 2:
            monkeypatch.setattr(sys, "stderr", gone)
            os.kill(os.getpid(), signal.SIGINT)

    config = tiny_config(tiny)
    config.trainer.checkpoint_every, config.trainer.validate_every = 2, 3
    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", lose_the_reader)
    monkeypatch.setattr(progress, "_LINE_EVERY_SECONDS", 0.0)  # a line at every step
    with pytest.raises(job.Interrupted, match="stopped at step 3;"):
        job.train(config)
    with pytest.raises(BrokenPipeError):
        gone.write("x\n")
    assert checkpoint(tiny / "run")["global_step"] == 3
    assert "Traceback" not in capfd.readouterr().err


def test_a_second_signal_is_immediate_and_handlers_come_back(tmp_path: Path):
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    ours = signal.getsignal(signal.SIGINT)
    try:
        stop = GracefulStop(tmp_path / "last.ckpt", 10)
        stop.setup()
        os.kill(os.getpid(), signal.SIGINT)
        assert seen == []
        os.kill(os.getpid(), signal.SIGINT)
        assert seen == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is ours
    finally:
        stop.restore()
        signal.signal(signal.SIGINT, before)


def test_a_thread_of_a_notebook_or_a_web_app_can_train(tiny: Path):
    """Python sets signal handlers in the main thread only."""
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    config = tiny_config(tiny)
    config.trainer.n_steps = 1
    with ThreadPoolExecutor(1) as pool:
        folder = pool.submit(job.train, config).result(timeout=60)
    assert (folder / "finished").is_file()
    assert checkpoint(folder)["global_step"] == 1
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_resume(tmp_path: Path, fork_server: ForkServer):
    write_tiny_facts(tmp_path / "facts.jsonl")
    history, log = tmp_path / "run" / "history.jsonl", tmp_path / "log"
    endless = json.dumps({"n_steps": 100_000, "validate_every": 100_000})
    with fork_server.running(TRAIN, str(tmp_path), endless, log=log) as child:
        deadline = time.monotonic() + 120
        while not (history.is_file() and history.read_text().count("\n") >= 2):
            assert child.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGINT)
        code = child.wait(timeout=60)
    printed = log.read_text()
    assert code == 130, printed
    assert "Traceback" not in printed
    last = printed.strip().splitlines()[-1]
    assert "stopped at step" in last and "Start the same command again" in last
    saved = checkpoint(tmp_path / "run")
    steps = [row["step"] for row in lines(tmp_path / "run")]
    assert steps == list(range(saved["global_step"]))
    assert f"stopped at step {saved['global_step']};" in last
