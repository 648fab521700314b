"""`contraflow train`: from settings to an adapter and a report."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from contraflow.cli.command import Command, ParsedArguments
from contraflow.cli.commands._unused import print_warnings
from contraflow.cli.help import groups_help, table
from contraflow.cli.preflight import check_training
from contraflow.cli.verbosity import silence_loggers
from contraflow.distributed.launch import end_with_launcher, launch
from contraflow.distributed.rank_info import rank_info_from_environment

_OVERRIDES = (
    ("name=mine", "the run's name; its folder is run_dir=runs/mine"),
    (
        "data.facts=my_facts.jsonl",
        "your own facts (one JSON object per line: subject, edit_fact, …)",
    ),
    ("trainer.n_steps=200", "number of training steps"),
    (
        "trainer.facts_per_step=4",
        "facts per step; exploration.n_samples=8 questions are sampled for each",
    ),
    (
        "trainer.max_time=7h30m",
        "wall-clock time of this start; then a checkpoint is written and the exit code is 75",
    ),
    ("trainer.threads=2", "CPU threads"),
    (
        "trainer.devices=4",
        "ranks: the number of processes that train together, each on a GPU if there are any",
    ),
    (
        "exchange=scatter",
        "what ranks exchange; torchrun can start them too, also on several machines",
    ),
    (
        "exchange=actors exchange.actors=4",
        "four processes sample and score all the time, this one learns (docs/scaling.md)",
    ),
    ("model=any model.name=FOLDER", "another causal LM, as a folder or by its hub name"),
    ("objective=subtb objective.lam=0.9", "the loss"),
    (
        "reward.likelihood_weight=1.0",
        "1 keeps questions as fluent as the base model's; less allows less likely questions",
    ),
    (
        "reward.likelihood_ceiling=-5",
        "questions more likely than e^-5 get no higher reward: more variety; 0 is no ceiling",
    ),
    (
        "exploration.count_repeats=false",
        "a question sampled again counts once in the loss: more variety; no effect with distinct",
    ),
    (
        "objective=vargrad objective.penalty=linex",
        "missed questions cost more than repeated ones: the forward KL",
    ),
    ("exploration.distinct=true", "no question of a fact twice in a batch (the quickstart)"),
    ("objective=rloo", "a policy gradient, for comparison"),
    ("trainer.show_after=10", "after 10, 20, 40, … steps: questions about three held-out facts"),
    ("seed=1", "another random stream"),
)
_GRAMMAR = """\
`contraflow config` prints every key with its value. Overrides follow the grammar of Hydra, so quote
a value with commas or braces inside the shell's quotes: "prompt.task='Ask about {subject}:'"."""


def run(args: ParsedArguments) -> int:
    """Compose the settings, run all early checks, train."""
    started = time.monotonic()  # before slow imports, which count for trainer.max_time
    from contraflow.settings.compose import compose_config
    from contraflow.settings.unlikely import unlikely
    from contraflow.settings.unused import unused_keys

    config = compose_config(args.overrides, args.config_dir)
    rank_info = rank_info_from_environment()
    # Only rank 0 checks files: other ranks may be on another machine.
    if rank_info is None or rank_info.rank == 0:
        check_training(config)
    if rank_info is None and config.trainer.devices > 1:
        return launch(_rank_command(args), config.trainer.devices, Path(config.run_dir) / "ranks")
    end_with_launcher()
    if rank_info is None or rank_info.rank == 0:
        print_warnings(unused_keys(args.overrides, config).values())
        print_warnings(unlikely(args.overrides, config))

    from contraflow.training.job import train

    silence_loggers()
    train(config, started)
    return 0


def _rank_command(args: ParsedArguments) -> list[str]:
    """The command line that starts one rank."""
    config_dir = [] if args.config_dir is None else [f"--config-dir={args.config_dir}"]
    return [sys.executable, "-m", "contraflow.cli", "train", *args.overrides, *config_dir]


def _details() -> str:
    return "\n\n".join([groups_help(), table("useful overrides", _OVERRIDES, width=36), _GRAMMAR])


COMMAND = Command(
    name="train",
    summary="train a sampler, measure it before and after, write a report",
    description="""
    Fine-tunes the sampler on facts with a GFlowNet objective and writes a run folder: settings,
    checkpoints, adapter/ (an ordinary PEFT adapter), evaluation/ (metrics and questions, before and
    after training) and report.html.

    The same command started again resumes from the last checkpoint. Ctrl-C writes one first.

    Settings are an experiment (a preset), then one choice per group, then single keys; the last
    word wins.
    """,
    examples=(
        "contraflow train experiment=quickstart",
        "contraflow train experiment=quickstart objective=vargrad name=vargrad trainer.n_steps=100",
        "contraflow train experiment=quickstart trainer.devices=4",
        "contraflow train model=gpt2_large judge=deberta_v3_large_mnli "
        "replay=redis replay.url=redis://host:6379/0",
    ),
    run=run,
    overrides="experiment=NAME, group=CHOICE or group.key=VALUE, as below",
    details=_details,
)
