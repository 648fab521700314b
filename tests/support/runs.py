"""A whole training run of six steps in a second.

A random Llama is the model, tables are oracle and judge, and everything else is real.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from contraflow.facts import Fact, write_facts
from contraflow.run import build
from contraflow.settings import (
    Config,
    DataConfig,
    EvaluationConfig,
    ExplorationConfig,
    LoggerConfig,
    PolicyConfig,
    PromptConfig,
    RewardConfig,
    TrainerConfig,
)
from contraflow.training.module import SamplerModule
from support.models import fresh_lm
from support.tables import RecordingJudge, RecordingOracle, arbitrary_log_c

N_STEPS = 6
TRAIN = "support.runs:train"  # as a `ForkServer` calls it
WORDS = ("hamlet", "rome", "city", "capital", "fact")


def tiny_facts() -> list[Fact]:
    """Twenty facts about pairs of words."""
    return [
        Fact(fact_id=f"{a}-{b}", subject=f"{a} {b}", edit_fact=f"{a} is the {b}", relation=a)
        for a in WORDS
        for b in WORDS
        if a != b
    ]


def write_tiny_facts(path: Path) -> None:
    """Write the twenty facts."""
    write_facts(path, tiny_facts())


def tiny_config(folder: Path, name: str = "run", **changes: Any) -> Config:
    """Return six steps with all that could differ after a resume: replay, tempering, two phases."""
    parts: dict[str, Any] = {
        "data": DataConfig(
            facts=str(folder / "facts.jsonl"), filter_known=False, max_validation_facts=3
        ),
        "prompt": PromptConfig(
            task="ask : who is it\nfact : {edit_fact}\nask :", answer="ask : {question}\nfact :"
        ),
        "policy": PolicyConfig(min_question_len=2, max_question_len=4),
        "reward": RewardConfig(
            penalized_reward_end_step=4, reward_temp_start=3.0, reward_temp_horizon=5
        ),
        "exploration": ExplorationConfig(n_samples=4, use_buffer_prob=0.4, pf_temp_prob=0.5),
        "trainer": TrainerConfig(
            n_steps=N_STEPS,
            facts_per_step=2,
            threads=1,
            checkpoint_every=100,
            validate_every=2,
            probe_every=2,
        ),
        "logger": LoggerConfig(csv=False, wandb="disabled"),
        "evaluation": EvaluationConfig(enabled=False),
    }
    return Config(name=name, run_dir=str(folder / name), seed=4, **{**parts, **changes})


def use_tiny_parts(
    patch: Callable[[Any, str, Any], None], log_c: Callable[[str, str], float] = arbitrary_log_c
) -> None:
    """Replace the model by a random Llama, and oracle and judge by tables."""
    patch(build, "load_lm", lambda *_, **__: fresh_lm())
    patch(build, "load_oracle", lambda *_: RecordingOracle())
    patch(build, "load_judge", lambda *_: RecordingJudge(log_c))


def prepare_folder(folder: Path, patch: Callable[[Any, str, Any], None]) -> None:
    """Write facts and replace the slow parts, so that training in the folder takes a second."""
    from contraflow.training import job  # slow to import, and few tests train

    write_tiny_facts(folder / "facts.jsonl")
    use_tiny_parts(patch)
    patch(job, "write_report", lambda folder: folder / "report.html")
    patch(job, "print_summary", lambda *_: None)


class Snapshot:
    """A copy of a folder, from which tests that change the folder restore it at the same path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._copy = folder.with_name(f"{folder.name}-snapshot")
        shutil.copytree(folder, self._copy)

    def restore(self) -> Path:
        """Bring back the content of the folder, and return its path."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._copy, self.folder)
        return self.folder


def train(words: list[str]) -> int:
    """Train a tiny run in this process as the command line does, and return the exit code.

    `words`: the folder, and a JSON object of settings in `trainer`, and `name`, `csv` and
    `max_file_bytes`.
    """
    from contraflow.cli.failures import report_failure
    from contraflow.training import job

    folder, changes = words
    trainer = json.loads(changes)
    name = trainer.pop("name", "run")
    logger = LoggerConfig(csv=trainer.pop("csv", False), wandb="disabled")
    limit = trainer.pop("max_file_bytes", None)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    warnings.simplefilter("ignore")
    use_tiny_parts(setattr)
    config = tiny_config(Path(folder), name, logger=logger)
    try:
        job.train(replace(config, trainer=replace(config.trainer, **trainer)))
    except BaseException as error:
        return report_failure(error)
    return 0


def asks_to_stop_at(
    step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGINT
) -> None:
    """Send a real signal to this process while the step computes its loss."""
    original = SamplerModule.training_step

    def training_step(self: SamplerModule, item: Any, index: int) -> Any:
        if item.step == step:
            os.kill(os.getpid(), number)
        return original(self, item, index)

    monkeypatch.setattr(SamplerModule, "training_step", training_step)


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    """Load a checkpoint of a run."""
    return dict(torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True))


def lines(folder: Path, name: str = "history.jsonl") -> list[dict[str, Any]]:
    """Read a JSONL file of a run without the durations."""
    rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "step_seconds"} for row in rows]


def assert_same(
    a: Any, b: Any, where: str = "", *, rel: float = 1e-4, absolute: float = 1e-5
) -> None:
    """Assert nested equality with a tolerance for numbers.

    Scores of another batch may be rounded differently.
    """
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}", rel=rel, absolute=absolute)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{i}", rel=rel, absolute=absolute)
    elif isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, atol=absolute, rtol=rel, msg=where)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=rel, abs=absolute, nan_ok=True), where
    else:
        assert a == b, where


def replay_of(saved: dict[str, Any]) -> dict[tuple[Any, ...], list[Any]]:
    """Return the content of the replay snapshot in a checkpoint, by fact and question."""
    _schema, _version, body = msgspec.msgpack.decode(saved["replay"].numpy().tobytes())
    return {
        (e["fact_id"], tuple(e["question_ids"])): [priority, e] for priority, e in body["entries"]
    }


def assert_same_run(whole: Path, cut: Path) -> None:
    """Assert that two run folders hold the same weights, logs and replay entries."""
    a, b = checkpoint(whole), checkpoint(cut)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_same(a[key], b[key], key)
    assert_same(lines(whole), lines(cut), "history")
    assert_same(lines(whole, "probes.jsonl"), lines(cut, "probes.jsonl"), "probes")
    assert_same(replay_of(a), replay_of(b), "replay")
