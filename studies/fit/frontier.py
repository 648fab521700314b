"""Which settings are on the frontier of two figures, how far it reaches, and which ones tie.

A setting's point is the mean over its seeds. The frontier holds the points that no other one beats
in one figure without losing in the other. Its hypervolume is the area that its points dominate,
from (0, 0). Two settings tie in a figure when their difference is within twice its standard error
over seeds; with one seed each, within `ONE_RUN`, the spread of equal runs (docs/results.md).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

ONE_RUN = 0.04  # between equal runs of one setting, of a share of 384 questions
AXES = ("strict_success", "distinct_valid")


@dataclass(frozen=True)
class Point:
    """A setting, at one temperature, with its figures by seed."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]

    @property
    def at(self) -> tuple[float, float]:
        """The means over seeds."""
        return statistics.fmean(self.x), statistics.fmean(self.y)


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other one dominates, by falling x."""
    ordered = sorted(points, key=lambda p: (-p.at[0], -p.at[1]))
    kept: list[Point] = []
    for point in ordered:
        if not kept or point.at[1] > kept[-1].at[1]:
            kept.append(point)
    return kept


def hypervolume(points: Sequence[Point]) -> float:
    """The area of the union of the rectangles from (0, 0) to each point."""
    area = 0.0
    height = 0.0
    for point in frontier(points):
        x, y = point.at
        area += x * (y - height)
        height = y
    return area


def ties(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two settings' figures cannot be told apart."""
    difference = abs(statistics.fmean(a) - statistics.fmean(b))
    if len(a) < 2 or len(b) < 2:
        return difference <= ONE_RUN
    error = math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b))
    return difference <= 2 * error
