"""`contraflow sweep`: train with many settings and rank the results."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._unused import print_warnings
from contraflow.cli.preflight import check_training
from contraflow.errors import UserError
from contraflow.settings.keys import check_override_key
from contraflow.sweep.metric_names import (
    best_of,
    require_metric_name,
    require_metric_of_run,
)

if TYPE_CHECKING:
    from contraflow.settings import Config
    from contraflow.sweep.launcher import Launcher
    from contraflow.sweep.space import Values

DEFAULT_JOBS = 4
# Composing and checking one run takes about 0.1 seconds.
MOST_CHECKED = 100
MOST_LOGS = 3
MAX_SEED = 2**32 - 1  # NumPy's legacy generator, which proposes the settings, takes 32 bits


def run(args: ParsedArguments) -> int:
    """Check every setting before the first run starts, run the trials, print the results."""
    varied = args.with_prefix("vary.")
    if not varied:
        raise UserError(
            "sweep needs at least one vary.KEY=VALUES; "
            "for example: vary.reward.answer_quality_weight=0,0.1,0.3"
        )
    study = args.required("study")
    metric = args.required("metric")
    watched = args.required("prune_by")
    require_metric_name("metric", metric, evaluated=True)
    require_metric_name("prune_by", watched, evaluated=False)
    if "/" in study:
        raise UserError(f"study={study}: a name, not a path; folder=… says where")
    prune = args.boolean("prune")
    seed = args.integer("seed", 0)
    if seed > MAX_SEED:
        raise UserError(f"seed={seed}: must be at most {MAX_SEED}")
    _refuse_names(args, varied)
    for key in varied:
        problem = check_override_key(f"{key}=0", args.config_dir)
        if problem is not None:
            raise UserError(f"vary.{key}: {problem}; `contraflow config` shows every key")
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError("sweeps need Optuna: pip install 'contraflow[sweep]'") from None
    make_launcher = _launcher_factory(args)
    from contraflow.sweep.outcome import without_result, write_outcome
    from contraflow.sweep.space import grid_size, read_values
    from contraflow.sweep.study import Sweep, run_sweep
    from contraflow.system.progress import print_plain

    space = {key: read_values(key, text) for key, text in varied.items()}
    _check_values(args, space)
    size = grid_size(space)
    trials = args.optional_integer("trials", 1)
    if trials is None and size is None:
        key = next(key for key, values in space.items() if grid_size({key: values}) is None)
        raise UserError(f"vary.{key}={varied[key]}: an interval has no end; say how many trials=N")
    n_trials = trials or size or 1
    folder = args.required_path("folder") / study
    config_dir = [] if args.config_dir is None else [f"--config-dir={args.config_dir}"]
    overrides = [*args.overrides, *config_dir]
    sweep = Sweep(folder, space, overrides, metric, watched, n_trials, prune, seed)
    finished = run_sweep(sweep, make_launcher(folder / "jobs"), print_plain)
    print(write_outcome(folder, finished, metric))
    print(f"\nbest first: the best {metric} is {best_of(metric)}")
    print(f"table: {folder / 'results.csv'}\npicture: {folder / 'results.svg'}")
    return _say_without_result(folder, without_result(finished))


def _say_without_result(folder: Path, runs: Sequence[str]) -> int:
    """Name the logs of runs without a result; the exit code, 1 where there are any."""
    if not runs:
        return 0
    logs = ", ".join(str(folder / f"{name}.log") for name in runs[:MOST_LOGS])
    more = f" and {len(runs) - MOST_LOGS} more" if len(runs) > MOST_LOGS else ""
    s = "" if len(runs) == 1 else "s"
    print(f"warning: {len(runs)} run{s} without a result: {logs}{more}", file=sys.stderr)
    return 1


def _refuse_names(args: ParsedArguments, varied: Mapping[str, str]) -> None:
    """Raises: UserError for a name or folder of the runs, all of which would be one setting, and
    for a key that is both fixed and varied.
    """
    fixed = {word.lstrip("+").partition("=")[0]: word for word in args.overrides}
    words = {key: f"vary.{key}={text}" for key, text in varied.items()}
    for key in ("name", "run_dir"):
        for given in (fixed, words):
            if key in given:
                raise UserError(
                    f"{given[key]}: a sweep names the folders of its runs itself; study=… is the "
                    "name of the sweep, and folder=… says where it is"
                )
    for key, word in words.items():
        if key in fixed:
            raise UserError(f"{fixed[key]} and {word}: is fixed and varied; keep one")


def _check_values(args: ParsedArguments, space: Mapping[str, Values]) -> None:
    """Check a training run with each combination of listed values and bounds of intervals.

    Warns of settings, fixed or varied, that none of these runs uses. Raises: UserError.
    """
    from contraflow.run.device import check_device
    from contraflow.settings.unused import unused_keys
    from contraflow.sweep.space import combinations_to_check

    unused: list[dict[str, str]] = []
    same_as: dict[str, dict[str, str]] = {}
    for combination in combinations_to_check(space, MOST_CHECKED):
        config = _composed(args, combination, space)
        before = same_as.setdefault(repr(config), combination)
        if before is not combination:
            raise UserError(
                f"{_varied(before)} and {_varied(combination)} are one setting, which would be "
                "trained twice; give each value once"
            )
        try:
            require_metric_of_run("metric", args.required("metric"), config, evaluated=True)
            if args.boolean("prune"):
                watched = args.required("prune_by")
                require_metric_of_run("prune_by", watched, config, evaluated=False)
            check_training(config)
            if args.required("launcher") == "local" and config.model.device.startswith("cuda"):
                check_device(config)
        except UserError as error:
            raise _of_combination(error, combination) from None
        unused.append(unused_keys([*args.overrides, *(f"{key}=" for key in space)], config))
    print_warnings(
        line for key, line in unused[0].items() if all(key in others for others in unused)
    )


def _composed(
    args: ParsedArguments, combination: Mapping[str, str], space: Mapping[str, Values]
) -> Config:
    """The settings of a run with these values of the varied keys. Raises: UserError."""
    from contraflow.settings.compose import compose_config
    from contraflow.sweep.space import Interval

    words = [f"{key}={value}" for key, value in combination.items()]
    try:
        return compose_config([*args.overrides, *words], args.config_dir)
    except UserError as error:
        key = str(error).partition("=")[0]
        values = space.get(key)
        if not isinstance(values, Interval) or "must be a whole number" not in str(error):
            raise _of_combination(error, combination) from None
        raise UserError(
            f"vary.{key}: takes whole numbers, and an interval has fractions too; list the values, "
            f"such as vary.{key}={values.low:g},{values.low + 1:g}"
        ) from None


def _varied(combination: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in combination.items())


def _of_combination(error: UserError, combination: Mapping[str, str]) -> UserError:
    """The error, with the combination that it is about where several keys are varied."""
    if len(combination) == 1:
        return error
    return UserError(f"{error} (of the combination {_varied(combination)})")


def _launcher_factory(args: ParsedArguments) -> Callable[[Path], Launcher]:
    """A function from the folder of the jobs to the launcher.

    Raises: UserError before anything is written.
    """
    from contraflow.sweep.launcher import LocalLauncher

    slurm = args.with_prefix("slurm.")
    if args.choice("launcher", ("local", "slurm")) == "local":
        if slurm or args.text("jobs") is not None:
            key = f"slurm.{next(iter(slurm))}" if slurm else "jobs"
            raise UserError(f"{key}= is for launcher=slurm")
        return lambda _: LocalLauncher()
    from contraflow.sweep.slurm import SlurmLauncher, SlurmSettings, check_slurm

    mem = args.text("slurm.mem")
    if mem is not None and re.fullmatch(r"\d+[KMGT]B?", mem) is None:
        raise UserError(f"slurm.mem={mem}: must be a size such as 32GB")
    settings = SlurmSettings(
        partition=args.text("slurm.partition"),
        account=args.text("slurm.account"),
        time=args.integer("slurm.time", 1),
        gpus=args.optional_integer("slurm.gpus", 1),
        cpus=args.optional_integer("slurm.cpus", 1),
        mem=mem,
    )
    at_once = args.optional_integer("jobs", 1) or DEFAULT_JOBS
    check_slurm()
    return lambda folder: SlurmLauncher(folder, settings, at_once)


COMMAND = Command(
    name="sweep",
    summary="train with many settings, prune the bad runs, and rank the results",
    description="""
    Runs `contraflow train` once for each choice of the varied settings. If all values are listed,
    it runs every combination. If there are intervals, or trials=N is less than the number of
    combinations, Optuna proposes settings near those that did well.

    The folder keeps everything: the same command started again continues, and a run that was in
    progress resumes from its checkpoint. With another metric= it ranks the runs that are there
    anew; with other settings it is refused. With prune=true a run is stopped when its validation
    metric (prune_by) is below the median of the others at the same step. The exit code is 1 where
    a run has failed, or its metric is not defined; the others are ranked all the same.

    With launcher=slurm each run is a job of a Slurm cluster, several at once; the folder must be on
    a disk that all nodes share. Jobs continue when this command ends, and the same command finds
    them again.

    VALUES are a list (0,0.1,0.3, or [a],[a,b]) or an interval of numbers (0.1..3.0, or
    0.1..3.0:log). Other words are settings, as for train.
    """,
    examples=(
        "contraflow sweep study=quality experiment=quickstart "
        "vary.reward.answer_quality_weight=0,0.1,0.3 vary.reward.answer_failure_penalty=-10,-2",
        "contraflow sweep study=rates experiment=quickstart "
        "vary.optimizer.lr=1e-4..1e-3:log trials=8 prune=true",
        "contraflow sweep study=rates experiment=quickstart "
        "vary.optimizer.lr=1e-4..1e-3:log trials=16 launcher=slurm "
        "slurm.partition=gpu slurm.gpus=1 slurm.cpus=8 slurm.mem=32GB slurm.time=120",
    ),
    run=run,
    arguments=(
        Argument("study", "NAME", "name of the sweep; its folder is sweeps/NAME", required=True),
        Argument("vary.", "VALUES", "a config key (FIELD, such as optimizer.lr) and its values"),
        Argument("trials", "N", "number of runs; by default all combinations"),
        Argument(
            "metric",
            "NAME",
            "the metric to rank by: of the evaluation (strict_success, …) or of the history "
            "(val_log_contradiction, …); the highest is the best, of loss, self_bleu and others "
            "with such a direction the lowest, of slope the one nearest to 1",
            default="strict_success",
        ),
        Argument("prune", "true|false", "stop runs that are below the median", default="false"),
        Argument(
            "prune_by",
            "NAME",
            "the validation metric to prune by",
            default="val_log_contradiction",
        ),
        Argument("folder", "FOLDER", "parent folder of all studies", default="sweeps"),
        Argument("seed", "N", "seed of the proposals", default="0"),
        Argument(
            "launcher",
            "local|slurm",
            "local runs here, one after another; slurm submits jobs to a cluster",
            default="local",
        ),
        Argument(
            "jobs", "N", f"number of jobs at once with launcher=slurm; by default {DEFAULT_JOBS}"
        ),
        Argument("slurm.partition", "NAME", "partition of the jobs; by default the cluster's own"),
        Argument("slurm.account", "NAME", "account that is charged"),
        Argument(
            "slurm.time",
            "MINUTES",
            "time limit of a job; longer runs are queued again",
            default="240",
        ),
        Argument("slurm.gpus", "N", "GPUs per job, on one node; as many as trainer.devices"),
        Argument("slurm.cpus", "N", "CPU cores per job"),
        Argument("slurm.mem", "SIZE", "memory per job, such as 32GB"),
    ),
    overrides="settings that all runs share",
)
