"""The sizes of the measured steps, those that the law is fitted to and those held out; and a reader
of the measurements.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PHASES = ("sample", "answer", "judge", "prior", "learn")
PACKAGED = 135e6  # parameters of the packaged SmolLM2
PROMPT_TOKENS = 22  # a fact's own part of the quickstart's prompt; counted in work/counts.json
ROW_TOKENS = 256  # tokens of a row in which a tree is read, models/token_tree.py


@dataclass(frozen=True)
class Sizes:
    """Sizes of a step and of its model."""

    facts: int
    n: int  # questions per fact
    length: int  # tokens of a question
    params: float  # of the backbone that is sampler and oracle, its embedding included
    answer: int = 6  # tokens of the longest answer

    @property
    def questions(self) -> int:
        return self.facts * self.n

    @property
    def written(self) -> int:
        """Tokens of all facts' prompts and questions."""
        return self.facts * PROMPT_TOKENS + self.questions * self.length

    @property
    def read(self) -> int:
        """Tokens as prior and learning read them, in rows: where there are several, each has room
        for one more prompt and question.
        """
        rows = -(-self.written // ROW_TOKENS)
        return self.written + (rows * (PROMPT_TOKENS + self.length) if rows > 1 else 0)


@dataclass(frozen=True)
class Point:
    """Measurements at some sizes: medians over steps and rounds, and the range over all."""

    sizes: Sizes
    seconds: Mapping[str, float]  # by phase
    step: float
    least: float
    most: float
    mib: float
    mib_range: tuple[float, float]
    of_wall: tuple[float, ...] = ()  # wall time over CPU time, of each run


FITTED = [
    *(Sizes(facts=1, n=4, length=length, params=PACKAGED) for length in (6, 12, 18, 24)),
    *(Sizes(facts=1, n=n, length=12, params=PACKAGED) for n in (2, 8, 16)),
    *(Sizes(facts=facts, n=2, length=12, params=PACKAGED) for facts in (2, 4, 8)),
    Sizes(facts=1, n=4, length=12, params=30e6),
    Sizes(facts=4, n=8, length=12, params=30e6),
    Sizes(facts=1, n=4, length=12, params=60e6),
    Sizes(facts=1, n=2, length=6, params=360e6),
    Sizes(facts=1, n=4, length=12, params=360e6),
]
HELD_OUT = [
    Sizes(facts=4, n=8, length=18, params=60e6),
    Sizes(facts=1, n=6, length=18, params=360e6),
    Sizes(facts=3, n=8, length=18, params=PACKAGED, answer=12),
    Sizes(facts=6, n=8, length=12, params=PACKAGED, answer=12),  # as large as the quickstart's
]


def read_points(file: Path) -> tuple[list[Point], str]:
    """The points of a file of measurements, all steps and rounds of one taken together; and the
    environment they were measured in.
    """
    found = json.loads(file.read_text())
    runs_by_sizes: dict[Sizes, list[dict[str, Any]]] = {}
    for run in found["points"]:
        runs_by_sizes.setdefault(Sizes(**run["sizes"]), []).append(run)
    points = [_point(sizes, runs) for sizes, runs in runs_by_sizes.items()]
    return points, found["environment"]


def _point(sizes: Sizes, runs: Sequence[dict[str, Any]]) -> Point:
    steps = [step for run in runs for step in run["steps"]]
    whole = [sum(step.values()) for step in steps]
    memory = [run["mib"] for run in runs]
    of_wall = []
    for run in runs:
        of_wall.append(run["wall"] / statistics.mean(sum(step.values()) for step in run["steps"]))
    return Point(
        sizes,
        seconds={phase: statistics.median(step[phase] for step in steps) for phase in steps[0]},
        step=statistics.median(whole),
        least=min(whole),
        most=max(whole),
        mib=statistics.median(memory),
        mib_range=(min(memory), max(memory)),
        of_wall=tuple(of_wall),
    )
