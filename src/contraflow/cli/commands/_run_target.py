"""The run that `generate` and `evaluate` sample from: its arguments, and how it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, ParsedArguments
from contraflow.cli.preflight import UNTRAINED, check_models, check_run
from contraflow.errors import UserError

if TYPE_CHECKING:
    from contraflow.run.session import Run
    from contraflow.settings import Config

RUN = Argument(
    "run",
    "FOLDER",
    "a folder that `contraflow train` wrote, or `untrained`: the sampler without an adapter",
    required=True,
)
SAMPLING = (
    Argument("n", "N", "questions per fact", default="8"),
    Argument(
        "temperature",
        "T",
        "sampling temperature; 1 samples from the learned distribution",
        default="1.0",
    ),
    Argument("seed", "N", "the same seed samples the same questions", default="0"),
)
OVERRIDES = (
    "settings for run=untrained, such as model=gpt2 or prompt=subject_only; "
    "a trained run keeps its own"
)


def untrained_config(args: ParsedArguments) -> Config | None:
    """The settings for `run=untrained`; None for a trained run, which has its own.

    Raises: UserError, before any model is loaded.
    """
    run = args.required("run")
    check_run(run)
    if run != UNTRAINED:
        if args.overrides:
            raise UserError(
                f"{args.overrides[0]}: a run keeps the settings it was trained with; "
                f"only run={UNTRAINED} takes others"
            )
        return None
    from contraflow.settings.compose import compose_config

    config = compose_config(args.overrides, args.config_dir)
    check_models(config)
    return config


def open_target(args: ParsedArguments, config: Config | None) -> Run:
    """Load the models of the run, which takes seconds."""
    from contraflow.run.session import open_run

    return open_run(args.required("run"), config)
