"""`contraflow sweep`: train with many settings, and see which were best."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.early import check_training
from contraflow.errors import UserError
from contraflow.settings.keys import check_override_key

if TYPE_CHECKING:
    from contraflow.sweep.launcher import Launcher

JOBS = 4


def run(given: Given) -> int:
    """Check every setting before the first run starts, then run, then tell."""
    varied = given.with_prefix("vary.")
    if not varied:
        raise UserError(
            "sweep needs at least one vary.KEY=VALUES; for example: vary.reward.answer_quality_weight=0,0.1,0.3"
        )
    study, metric, watched = given.needed("study"), given.needed("metric"), given.needed("prune_by")
    if "/" in study:
        raise UserError(f"study={study}: a name, not a path; folder=… says where")
    prune = given.choice("prune", ("true", "false")) == "true"
    seed = given.integer("seed", 0)
    for key in varied:
        wrong = check_override_key(f"{key}=0", given.config_dir)
        if wrong is not None:
            raise UserError(f"vary.{key}: {wrong}; `contraflow config` shows every key")
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError("sweeps need Optuna: pip install 'contraflow[sweep]'") from None
    make_launcher = _launcher(given)
    from contraflow.settings.compose import compose_config
    from contraflow.sweep.outcome import write_outcome
    from contraflow.sweep.space import Choices, grid_size, read_values
    from contraflow.sweep.study import Sweep, run_sweep
    from contraflow.system.progress import print_plain

    space = {key: read_values(key, text) for key, text in varied.items()}
    for key, values in space.items():
        for value in values.values if isinstance(values, Choices) else (values.low, values.high):
            check_training(compose_config([*given.overrides, f"{key}={value}"], given.config_dir))
    size = grid_size(space)
    if given.text("trials") is None and size is None:
        raise UserError("an interval has no end: say how many trials=N")
    n_trials = given.integer("trials", 1) if given.text("trials") else size or 1
    folder = Path(given.needed("folder")).expanduser() / study
    own = [] if given.config_dir is None else [f"--config-dir={given.config_dir}"]
    sweep = Sweep(folder, space, [*given.overrides, *own], metric, watched, n_trials, prune, seed)
    trials = run_sweep(sweep, make_launcher(folder / "jobs"), print_plain)
    print(write_outcome(folder, trials, metric))
    print(f"\ntable: {folder / 'results.csv'}\npicture: {folder / 'results.svg'}")
    return 0


def _launcher(given: Given) -> Callable[[Path], Launcher]:
    """What makes the launcher, given the folder of its jobs. Raises: UserError before anything is
    made.
    """
    from contraflow.sweep.launcher import LocalLauncher

    wanted = given.with_prefix("slurm.")
    if given.choice("launcher", ("local", "slurm")) == "local":
        if wanted or given.text("jobs") is not None:
            raise UserError(
                f"{'slurm.' + next(iter(wanted)) if wanted else 'jobs'}= is for launcher=slurm"
            )
        return lambda _: LocalLauncher()
    from contraflow.sweep.slurm import SlurmLauncher, SlurmSettings, check_slurm

    mem = wanted.get("mem") or None
    if mem is not None and re.fullmatch(r"\d+[KMGT]B?", mem) is None:
        raise UserError(f"slurm.mem={mem}: must be a size such as 32GB")
    settings = SlurmSettings(
        partition=wanted.get("partition") or None,
        account=wanted.get("account") or None,
        time=given.integer("slurm.time", 1),
        gpus=_number(given, "slurm.gpus"),
        cpus=_number(given, "slurm.cpus"),
        mem=mem,
    )
    at_once = _number(given, "jobs") or JOBS
    check_slurm()
    return lambda folder: SlurmLauncher(folder, settings, at_once)


def _number(given: Given, key: str) -> int | None:
    return None if given.text(key) is None else given.integer(key, 1)


COMMAND = Command(
    name="sweep",
    summary="train with many settings, prune what goes badly, and see which were best",
    about="""
    Runs `contraflow train` once for each choice of the varied settings. Where all values are listed,
    every combination is run; where there are intervals, or trials=N is fewer than there are combinations, Optuna
    proposes settings where it has gone well.

    The folder keeps everything: the same command started again goes on, and a run that was under way resumes from its
    checkpoint. With prune=true a run is stopped when its validation number (prune_by) is below the median of the others
    at the same step.

    With launcher=slurm each run is a job of a Slurm cluster, several at once; the folder must be on a disk that all
    nodes share. Jobs go on where this command ends, and the same command finds them again.

    VALUES are a list (0,0.1,0.3) or an interval (0.1..3.0, or 0.1..3.0:log). Other words are settings, as for train.
    """,
    examples=(
        "contraflow sweep study=quality experiment=quickstart vary.reward.answer_quality_weight=0,0.1,0.3 "
        "vary.reward.answer_failure_penalty=-10,-2",
        "contraflow sweep study=rates experiment=quickstart vary.optimizer.lr=1e-4..1e-3:log trials=8 prune=true",
        "contraflow sweep study=rates experiment=quickstart vary.optimizer.lr=1e-4..1e-3:log trials=16 launcher=slurm "
        "slurm.partition=gpu slurm.gpus=1 slurm.cpus=8 slurm.mem=32GB slurm.time=120",
    ),
    run=run,
    arguments=(
        Argument("study", "NAME", "the sweep's name; its folder is sweeps/NAME", required=True),
        Argument("vary.", "VALUES", "vary.KEY=VALUES: a key of the config and what it may be"),
        Argument("trials", "N", "how many runs; by default all combinations"),
        Argument(
            "metric",
            "NAME",
            "what is to be high: of the evaluation (strict_success, …), or of the history (val_log_contradiction, …)",
            default="strict_success",
        ),
        Argument("prune", "true|false", "stop runs that are below the median", default="false"),
        Argument(
            "prune_by",
            "NAME",
            "the validation number that decides",
            default="val_log_contradiction",
        ),
        Argument("folder", "FOLDER", "where the studies' folders are", default="sweeps"),
        Argument("seed", "N", "of the proposals", default="0"),
        Argument(
            "launcher",
            "local|slurm",
            "runs here, one after another, or jobs of a cluster",
            default="local",
        ),
        Argument("jobs", "N", f"how many at once, with launcher=slurm; {JOBS} where not said"),
        Argument(
            "slurm.partition", "NAME", "where jobs are queued; the cluster's default where not said"
        ),
        Argument("slurm.account", "NAME", "who is charged"),
        Argument(
            "slurm.time",
            "MINUTES",
            "time limit of a job; longer runs are queued again",
            default="240",
        ),
        Argument("slurm.gpus", "N", "GPUs of a job, on one node; as many as trainer.devices"),
        Argument("slurm.cpus", "N", "CPU cores of a job"),
        Argument("slurm.mem", "SIZE", "memory of a job, such as 32GB"),
    ),
    overrides="settings that all runs share",
)
