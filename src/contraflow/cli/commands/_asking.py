"""What `generate` and `evaluate` share: a run, its arguments, and how it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, Given
from contraflow.cli.early import UNTRAINED, check_models, check_run
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
    Argument("n", "N", "questions a fact", default="8"),
    Argument(
        "temperature",
        "T",
        "of the sampler; 1 draws from the distribution that was learned",
        default="1.0",
    ),
    Argument("seed", "N", "the same seed draws the same questions", default="0"),
)
OVERRIDES = "settings for run=untrained, such as model=gpt2 or prompt=subject_only; a trained run keeps its own"


def settings_of(given: Given) -> Config | None:
    """The settings for `untrained`; None for a run, which has its own. Raises: UserError, early."""
    run = given.needed("run")
    check_run(run)
    if run != UNTRAINED:
        if given.overrides:
            raise UserError(
                f"{given.overrides[0]}: a run keeps the settings it was trained with; "
                f"only run={UNTRAINED} takes others"
            )
        return None
    from contraflow.settings.compose import compose_config

    config = compose_config(given.overrides, given.config_dir)
    check_models(config)
    return config


def open_given(given: Given, config: Config | None) -> Run:
    """Load the models: from here on it takes seconds."""
    from contraflow.run.session import open_run

    return open_run(given.needed("run"), config)
