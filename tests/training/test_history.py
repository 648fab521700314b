"""What a run writes of each step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from contraflow.training import job
from contraflow.training.callbacks import Validation
from contraflow.training.learning_rate import WarmupCosine
from contraflow.types import TerminalReward
from support.runs import lines, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_step_has_the_learning_rate_that_it_used(tiny: Path):
    config = tiny_config(tiny)
    history = lines(job.train(config))
    share = WarmupCosine(
        config.optimizer.warmup_steps, config.optimizer.final_lr_share, config.trainer.n_steps
    )
    due = [config.optimizer.lr * share(row["step"]) for row in history]
    assert [row["learning_rate"] for row in history] == pytest.approx(due)
    assert len(set(due)) > 2


def test_a_reward_of_0_on_a_held_out_fact_does_not_end_the_search_for_the_best(tmp_path: Path):
    """Its log R is minus infinity: val_elbo would be too, and never better than before."""
    history = tmp_path / "history.jsonl"
    history.write_text('{"step": 0}\n')
    saved: list[Path] = []
    trainer: Any = SimpleNamespace(max_steps=9, save_checkpoint=saved.append)
    module: Any = SimpleNamespace(log_dict=lambda _: None)
    validation = Validation(history, 1, lambda done: [record(log_pf=-2.0 - done)])
    for step in range(2):
        item: Any = SimpleNamespace(step=step)
        validation.on_train_batch_end(trainer, module, None, item, 0)
    assert len(saved) == 2
    assert json.loads(history.read_text())["val_elbo"] == -1e4 + 4.0


def record(log_pf: float) -> Any:
    nothing = TerminalReward(torch.tensor([-math.inf]))  # as every record's log R is made
    return SimpleNamespace(
        log_reward=nothing.log_reward.item(),
        log_pf=log_pf,
        log_contradiction=-1.0,
        log_p_question=-2.0,
    )
