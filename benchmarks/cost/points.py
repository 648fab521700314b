"""Sizes of steps that are measured, and what was found: the ones that the law is fitted to, and
others.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PHASES = ("sample", "answer", "judge", "prior", "learn")
PACKAGED = 135e6  # parameters of SmolLM2, which the package brings
PROMPT_TOKENS = 22  # a fact's own part of the quickstart's prompt; counted, benchmarks/work.json
ROW_TOKENS = 256  # of a row of the tree that is read, models/token_tree.py


@dataclass(frozen=True)
class Sizes:
    """Of a step and of its model."""

    facts: int
    n: int  # questions a fact
    length: int  # tokens of a question
    params: float  # of the backbone that is sampler and oracle, its embedding included
    answer: int = 6  # tokens that the longest answer has

    @property
    def questions(self) -> int:
        return self.facts * self.n

    @property
    def written(self) -> int:
        """Tokens of all facts' prompts and questions."""
        return self.facts * PROMPT_TOKENS + self.questions * self.length

    @property
    def read(self) -> int:
        """Those in rows, as prior and learning read them: each of several has room for a prompt and
        a question more.
        """
        rows = -(-self.written // ROW_TOKENS)
        return self.written + (rows * (PROMPT_TOKENS + self.length) if rows > 1 else 0)


@dataclass(frozen=True)
class Point:
    """What was measured at some sizes: medians over steps and rounds, and the least and most of
    any.
    """

    sizes: Sizes
    seconds: Mapping[str, float]
    step: float
    least: float
    most: float
    mib: float
    mib_range: tuple[float, float]
    of_wall: tuple[
        float, ...
    ] = ()  # of each run, time by the clock on the wall over the process's own


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
    """What a file of measurements holds, each point's steps and rounds taken together; and where
    they were taken.
    """
    found = json.loads(file.read_text())
    groups: dict[Sizes, list[dict[str, Any]]] = {}
    for one in found["points"]:
        groups.setdefault(Sizes(**one["sizes"]), []).append(one)
    return [_point(sizes, runs) for sizes, runs in groups.items()], found["environment"]


def _point(sizes: Sizes, runs: Sequence[dict[str, Any]]) -> Point:
    steps = [step for run in runs for step in run["steps"]]
    whole, memory = [sum(step.values()) for step in steps], [run["mib"] for run in runs]
    return Point(
        sizes,
        {phase: statistics.median(step[phase] for step in steps) for phase in steps[0]},
        statistics.median(whole),
        min(whole),
        max(whole),
        statistics.median(memory),
        (min(memory), max(memory)),
        tuple(run["wall"] / statistics.mean(sum(s.values()) for s in run["steps"]) for run in runs),
    )
