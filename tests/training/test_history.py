"""What a run writes of each step."""

from __future__ import annotations

from pathlib import Path

import pytest

from contraflow.training import job
from contraflow.training.learning_rate import WarmupCosine
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
