"""The run that `generate` and `evaluate` sample from: its arguments, and how it is opened."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from contraflow.cli.command import Argument, ParsedArguments
from contraflow.cli.preflight import check_models, check_prompts, check_run
from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.check import unwritable_note
from contraflow.settings.keys import override_key
from contraflow.system.run_names import UNTRAINED, run_folder

if TYPE_CHECKING:
    from contraflow.run.session import Run
    from contraflow.settings import Config

# The questions of a fact are sampled in one batch, which takes about a megabyte each.
MAX_QUESTIONS = 1_000_000

# What may differ from the settings that a sampler was trained with, when it is sampled from.
_ASKABLE = (
    "oracle.",
    "judge.",
    "prompt.answer.",
    "model.device.",
    "model.decoding.",
    "model.compile.",
)

RUN = Argument(
    "run",
    "FOLDER",
    "a folder that `contraflow train` wrote; `shipped`: the packaged sampler; or `untrained`: "
    "one without an adapter",
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
    Argument(
        "seed", "N", "the same seed samples the same questions about the same facts", default="0"
    ),
)
OVERRIDES = (
    "settings for run=untrained, such as model=gpt2 or prompt=subject_only; a trained run keeps "
    "those of its sampler, and takes who answers and who judges: oracle.…, prompt.answer, judge.…"
)


def run_config(args: ParsedArguments) -> Config | None:
    """The settings for `run=untrained`, or those of a trained run with another oracle or judge.

    None for a trained run that is asked with its own.

    Raises: UserError, before any model is loaded.
    """
    run = args.required("run")
    check_run(run)
    keys = [] if run == UNTRAINED else [_askable_key(override) for override in args.overrides]
    if run != UNTRAINED and not keys:
        return None
    from contraflow.settings.compose import compose_config

    config = compose_config(args.overrides, args.config_dir)
    if run != UNTRAINED:
        config = _asked_otherwise(run, config, keys)
    check_prompts(config)
    check_models(config)
    return config


def _askable_key(override: str) -> str:
    """The key or group that an override of a trained run sets.

    Raises: UserError for one that its sampler was trained with.
    """
    key = override_key(override)
    if not f"{key}.".startswith(_ASKABLE):
        raise UserError(
            f"{override}: a run keeps what its sampler was trained with, and only "
            f"run={UNTRAINED} takes others; beside run=FOLDER you can give oracle.…, "
            "prompt.answer, judge.… and model.device"
        )
    return key


def _asked_otherwise(run: str, composed: Config, keys: Sequence[str]) -> Config:
    """The run's own settings, with these keys (or whole groups) of the composed ones."""
    from contraflow.run.session import read_run_config

    config = read_run_config(run_folder(run))
    for key in keys:
        _copy_setting(composed, config, key.split("."))
    return config


def _copy_setting(source: Any, target: Any, path: Sequence[str]) -> None:
    """Set one dotted key, or a whole section, of nested settings to what another has."""
    for name in path[:-1]:
        source = getattr(source, name)
        target = getattr(target, name)
    setattr(target, path[-1], getattr(source, path[-1]))


def open_target(args: ParsedArguments, config: Config | None, facts: Sequence[Fact]) -> Run:
    """Load the models of the run, which takes seconds; tell what it cannot ask about."""
    from contraflow.run.session import open_run

    run = open_run(args.required("run"), config)
    if note := unwritable_note(facts, run.config.policy.vocabulary):
        print(f"note: {note}", file=sys.stderr)
    return run
