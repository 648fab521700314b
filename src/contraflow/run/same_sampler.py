"""Whether a config that is given beside a run has the sampler that the run has trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from contraflow.errors import UserError
from contraflow.settings import Config, flat

_SHOWN = 60  # characters of a value in a message

# What a trained sampler cannot be sampled without.
_OF_SAMPLER = (
    "model.name",
    "model.dtype",
    "model.quantize",
    "model.lora.",
    "prompt.task",
    "policy.",
)


def check_same_sampler(folder: Path, own: Config, config: Config) -> None:
    """Raises: UserError naming the first setting in which a config has another sampler."""
    trained = flat(asdict(own))
    for key, value in flat(asdict(config)).items():
        if key.startswith(_OF_SAMPLER) and value != trained.get(key):
            raise UserError(
                f"open_run: {folder} was trained with {key}={_short(trained.get(key))}, the config "
                f"has {_short(value)}; start from read_run_config({str(folder)!r}), and change "
                "oracle, judge, reward or prompt.answer"
            )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
