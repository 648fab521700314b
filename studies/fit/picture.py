"""An SVG of all settings: strict success against the share of distinct valid questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from studies.fit.frontier import Point, frontier

WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 820, 520, 60, 50, 20
TICK = 0.05
STYLE = (
    ".grid{stroke:#e3e3e3}.frontier{fill:none;stroke:#0b6e4f;stroke-dasharray:4 3}"
    "circle.best{fill:#0b6e4f}circle.other{fill:#8a8f98}path.best{stroke:#0b6e4f}"
    "path.other{stroke:#8a8f98}text{fill:#222}"
)


@dataclass(frozen=True)
class Scale:
    """A linear map of values to pixels."""

    low: float
    high: float
    first: float
    last: float

    @classmethod
    def over(cls, values: Sequence[float], first: float, last: float) -> Scale:
        """Whole ticks around the values."""
        low = math.floor(min(values) / TICK - 0.2) * TICK
        high = math.ceil(max(values) / TICK + 0.2) * TICK
        return cls(low, high, first, last)

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 1)

    @property
    def ticks(self) -> list[float]:
        """The values of the grid lines."""
        return [self.low + TICK * i for i in range(round((self.high - self.low) / TICK) + 1)]


def picture(points: Sequence[Point]) -> str:
    """The points with their names; bars span the seeds, a line joins the frontier."""
    x = Scale.over([v for p in points for v in p.x], LEFT, WIDTH - EDGE)
    y = Scale.over([v for p in points for v in p.y], HEIGHT - BOTTOM, EDGE)
    best = frontier(points)
    line = " ".join(f"{x(p.at[0])},{y(p.at[1])}" for p in best)
    names = {p.name for p in best}
    marks = [_mark(point, x, y, "best" if point.name in names else "other") for point in points]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11"><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{_axes(x, y)}'
        f'<polyline points="{line}" class="frontier"/>{"".join(marks)}</svg>\n'
    )


def _mark(point: Point, x: Scale, y: Scale, kind: str) -> str:
    at_x, at_y = x(point.at[0]), y(point.at[1])
    seeds = (
        f"M{x(min(point.x))},{at_y}H{x(max(point.x))}M{at_x},{y(min(point.y))}V{y(max(point.y))}"
    )
    return (
        f'<path class="{kind}" d="{seeds}"/><circle class="{kind}" cx="{at_x}" cy="{at_y}" r="4"/>'
        f'<text x="{at_x + 7}" y="{at_y - 5}">{escape(point.name)}</text>'
    )


def _axes(x: Scale, y: Scale) -> str:
    bottom = HEIGHT - BOTTOM
    parts = []
    for value in x.ticks:
        line = f'<line class="grid" x1="{x(value)}" x2="{x(value)}" y1="{EDGE}" y2="{bottom}"/>'
        label = f'<text x="{x(value)}" y="{bottom + 16}" text-anchor="middle">{value:.2f}</text>'
        parts.append(line + label)
    for value in y.ticks:
        line = (
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - EDGE}" y1="{y(value)}" y2="{y(value)}"/>'
        )
        label = f'<text x="{LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{value:.2f}</text>'
        parts.append(line + label)
    names = (
        f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">'
        "strict success</text>"
        f'<text transform="translate(16 {(bottom + EDGE) / 2}) rotate(-90)" '
        'text-anchor="middle">distinct and valid, of all questions of a fact</text>'
    )
    return "".join([*parts, names])
