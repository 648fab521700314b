"""`contraflow train`: from settings to an adapter and a report."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from contraflow.cli.command import Command, Given
from contraflow.cli.early import check_training
from contraflow.cli.help import groups_help
from contraflow.cli.quiet import quiet_loggers
from contraflow.distributed.launch import end_with_launcher, launch
from contraflow.distributed.rank_info import rank_info_from_environment

_OVERRIDES = """useful overrides:
  name=mine                         the run's name; its folder is run_dir=runs/mine
  data.facts=my_facts.jsonl         your own facts (one JSON object a line: subject, edit_fact, …)
  trainer.n_steps=200               how long to train
  trainer.facts_per_step=4          facts a step; exploration.n_samples=8 questions are drawn of each
  trainer.max_time=7h30m            wall-clock time of this start; then a checkpoint is written and the exit code is 75
  trainer.threads=2                 CPU threads
  trainer.devices=4                 ranks: as many processes train together, each on a GPU where there are any
  exchange=scatter                  what ranks exchange; torchrun may start them too, also on several machines
  model=any model.name=FOLDER       another causal LM, as a folder or by its hub name
  objective=subtb objective.lam=0.9 the loss
  reward.likelihood_weight=1.0      1 keeps questions as fluent as the base model's; less is more daring
  reward.likelihood_ceiling=-5      likelier questions than e^-5 count alike: more variety; 0 is no ceiling
  exploration.count_repeats=false   a question drawn again for its fact counts once in the loss: more variety
  seed=1                            another random stream

`contraflow config` prints every key with its value; overrides follow the grammar of Hydra, so a value with
commas or braces wants quotes of its own: "prompt.task='Ask about {subject}:'"."""


def run(given: Given) -> int:
    """Compose, look at all that can be known early, train."""
    started = time.monotonic()  # before anything slow is imported
    from contraflow.settings.compose import compose_config

    config = compose_config(given.overrides, given.config_dir)
    place = rank_info_from_environment()
    if place is None or place.rank == 0:  # files are rank 0's: others may be on another machine
        check_training(config)
    if place is None and config.trainer.devices > 1:
        return launch(_as_a_rank(given), config.trainer.devices, Path(config.run_dir) / "ranks")
    end_with_launcher()

    from contraflow.training.job import train

    quiet_loggers()
    train(config, started)
    return 0


def _as_a_rank(given: Given) -> list[str]:
    own_groups = [] if given.config_dir is None else [f"--config-dir={given.config_dir}"]
    return [sys.executable, "-m", "contraflow.cli", "train", *given.overrides, *own_groups]


def _details() -> str:
    return f"{groups_help()}\n\n{_OVERRIDES}"


COMMAND = Command(
    name="train",
    summary="train a sampler, measure it before and after, write a report",
    about="""
    Fine-tunes the sampler on facts with a GFlowNet objective and writes a run folder: settings,
    checkpoints, adapter/ (an ordinary PEFT adapter), evaluation/ (metrics and questions, before and
    after) and report.html.

    The same command started again goes on from the last checkpoint. Ctrl-C writes one first.

    Settings are an experiment (a preset), then one choice a group, then single keys; the last word wins.
    """,
    examples=(
        "contraflow train experiment=quickstart",
        "contraflow train experiment=quickstart objective=vargrad name=vargrad trainer.n_steps=100",
        "contraflow train experiment=quickstart trainer.devices=4",
        "contraflow train model=gpt2_large judge=deberta_v3_large_mnli replay=redis replay.url=redis://host:6379/0",
    ),
    run=run,
    overrides="experiment=NAME, group=CHOICE or group.key=VALUE, as below",
    details=_details,
)
