"""The values of a varied key, parsed from texts such as `0,0.1,0.3` or `0.1..3.0:log`."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from optuna.trial import Trial

from contraflow.errors import UserError
from contraflow.settings.split import split_values

_INTERVAL = re.compile(r"(?P<low>[^,]+?)\.\.(?P<high>[^,:]+)(?::(?P<scale>.*))?")


@dataclass(frozen=True)
class Choices:
    """A list of values, kept as text; the config knows the type of each setting."""

    values: tuple[str, ...]

    def suggest(self, trial: Trial, key: str) -> str:
        """Return one of the values, chosen by the study's sampler."""
        return str(trial.suggest_categorical(key, self.values))


@dataclass(frozen=True)
class Interval:
    """All numbers between two bounds, on a linear or a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: Trial, key: str) -> str:
        """Return a number as text with four digits, so that the run uses the number shown."""
        return f"{trial.suggest_float(key, self.low, self.high, log=self.log):.4g}"


Values = Choices | Interval


def read_values(key: str, text: str) -> Values:
    """Parse the values of a key.

    `LOW..HIGH` is an interval only if both ends are numbers, so that a path may hold `..`. Commas
    in brackets and quotes are part of a value.

    Raises: UserError for a list with gaps or repeats and for a malformed interval, naming the key.
    """
    interval = _INTERVAL.fullmatch(text.strip())
    if interval is not None:
        low, high = (_number(bound) for bound in interval.group("low", "high"))
        if low is not None and high is not None:
            return _interval(key, text, (low, high), interval["scale"])
    try:
        values = tuple(split_values(text))
    except ValueError as error:
        raise UserError(
            f"vary.{key}={text}: {error}; a value with commas or brackets of its own goes in "
            f"quotes: \"vary.{key}='a, b',c\""
        ) from error
    if not all(values) or len(set(values)) < len(values):
        raise UserError(
            f"vary.{key}={text}: values are separated by single commas, each once; "
            "such as 0,0.1,0.3 or [q_proj],[q_proj,v_proj]"
        )
    return Choices(values)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _interval(key: str, text: str, bounds: tuple[float, float], scale: str | None) -> Interval:
    low, high = bounds
    log = scale == "log"
    is_interval = math.isfinite(low) and math.isfinite(high) and low < high
    is_scale = low > 0 if log else scale is None
    if not (is_interval and is_scale):
        raise UserError(
            f"vary.{key}={text}: an interval is LOW..HIGH, or LOW..HIGH:log with LOW above 0; "
            "such as 0.1..3.0:log"
        )
    return Interval(low, high, log)


def grid_size(space: Mapping[str, Values]) -> int | None:
    """Return the number of combinations; None if a key has infinitely many values."""
    sizes = [len(values.values) for values in space.values() if isinstance(values, Choices)]
    return math.prod(sizes) if len(sizes) == len(space) else None


def combinations(space: Mapping[str, Values]) -> Iterator[dict[str, str]]:
    """Every combination of a space of lists, in the order of the space."""
    listed = [values.values for values in space.values() if isinstance(values, Choices)]
    for combined in product(*listed):
        yield dict(zip(space, combined, strict=True))


def combinations_to_check(space: Mapping[str, Values], at_most: int) -> list[dict[str, str]]:
    """Return combinations that stand for all that a sweep may run: all of them, if they are few.

    An interval counts as its two bounds. Of more than ``at_most`` combinations there are as many as
    it takes to have each value once, and others by chance, always the same ones.
    """
    ends = {
        key: values if isinstance(values, Choices) else Choices((str(values.low), str(values.high)))
        for key, values in space.items()
    }
    if math.prod(len(values.values) for values in ends.values()) <= at_most:
        return list(combinations(ends))
    longest = max(len(values.values) for values in ends.values())
    found = [
        {key: values.values[number % len(values.values)] for key, values in ends.items()}
        for number in range(longest)
    ]
    draw = random.Random(0)
    while len(found) < at_most:
        drawn = {key: draw.choice(values.values) for key, values in ends.items()}
        if drawn not in found:
            found.append(drawn)
    return found
