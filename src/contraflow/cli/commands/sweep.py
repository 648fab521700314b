"""`contraflow sweep`: train with many settings, and see which were best."""

from __future__ import annotations

from pathlib import Path

from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.early import check_training
from contraflow.cli.groups import check_override_key
from contraflow.errors import UserError


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
    from contraflow.cli.compose import compose_config
    from contraflow.progress import say_plain
    from contraflow.sweep.outcome import write_outcome
    from contraflow.sweep.space import Choices, grid_size, read_values
    from contraflow.sweep.study import Sweep, run_sweep

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
    trials = run_sweep(sweep, say_plain)
    print(write_outcome(folder, trials, metric))
    print(f"\ntable: {folder / 'results.csv'}\npicture: {folder / 'results.svg'}")
    return 0


COMMAND = Command(
    name="sweep",
    summary="train with many settings, prune what goes badly, and see which were best",
    about="""
    Runs `contraflow train` once for each choice of the varied settings, one after another. Where all values are listed,
    every combination is run; where there are intervals, or trials=N is fewer than there are combinations, Optuna
    proposes settings where it has gone well.

    The folder keeps everything: the same command started again goes on, and a run that was under way resumes from its
    checkpoint. With prune=true a run is stopped when its validation number (prune_by) is below the median of the others
    at the same step.

    VALUES are a list (0,0.1,0.3) or an interval (0.1..3.0, or 0.1..3.0:log). Other words are settings, as for train.
    """,
    examples=(
        "contraflow sweep study=quality experiment=quickstart vary.reward.answer_quality_weight=0,0.1,0.3 "
        "vary.reward.answer_failure_penalty=-10,-2",
        "contraflow sweep study=rates experiment=quickstart vary.optimizer.lr=1e-4..1e-3:log trials=8 prune=true",
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
        Argument("prune_by", "NAME", "the validation number that decides", default="val_log_contradiction"),
        Argument("folder", "FOLDER", "where the studies' folders are", default="sweeps"),
        Argument("seed", "N", "of the proposals", default="0"),
    ),
    overrides="settings that all runs share",
)
