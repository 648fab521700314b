"""What is varied: the values of a key, read from words such as `0,0.1,0.3` or `0.1..3.0:log`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optuna.trial import Trial

from contraflow.errors import UserError


@dataclass(frozen=True)
class Choices:
    """Values that are listed; kept as words, since a setting's type is the config's to know."""

    values: tuple[str, ...]

    def suggest(self, trial: Trial, key: str) -> str:
        """One of them, as the study's sampler has it."""
        return str(trial.suggest_categorical(key, self.values))


@dataclass(frozen=True)
class Interval:
    """All numbers between two, on a linear or a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: Trial, key: str) -> str:
        """A number as a word, to four digits: what is shown is what is run."""
        return f"{trial.suggest_float(key, self.low, self.high, log=self.log):.4g}"


Values = Choices | Interval


def read_values(key: str, text: str) -> Values:
    """Raises: UserError naming the key, for a list with gaps or repeats, or an interval that is
    none.
    """
    if ".." in text:
        return _interval(key, text)
    words = tuple(word.strip() for word in text.split(","))
    if not all(words) or len(set(words)) < len(words):
        raise UserError(
            f"vary.{key}={text}: values are separated by single commas, each once; such as 0,0.1,0.3"
        )
    return Choices(words)


def _interval(key: str, text: str) -> Interval:
    bounds, _, scale = text.partition(":")
    try:
        low, high = (float(word) for word in bounds.split(".."))
    except ValueError:
        low = high = math.nan
    log = scale == "log"
    if not (math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not log)) or (
        scale and not log
    ):
        raise UserError(
            f"vary.{key}={text}: an interval is LOW..HIGH, or LOW..HIGH:log with LOW above 0; such as 0.1..3.0:log"
        )
    return Interval(low, high, log)


def grid_size(space: Mapping[str, Values]) -> int | None:
    """How many combinations there are, or None where some key has infinitely many values."""
    sizes = [len(values.values) for values in space.values() if isinstance(values, Choices)]
    return math.prod(sizes) if len(sizes) == len(space) else None
