"""Axes of the larger charts of an audit's report, as SVG in percentages of the plane."""

from __future__ import annotations

import math

import numpy as np

from contraflow.auditing.report.markup import Markup, joined, tag


def vertical_axis(top: float, count: int = 4) -> Markup:
    """Grid lines with labels for round whole numbers from 0 to `top`."""
    return joined(_grid_line(f"{value:g}", 100 * (1 - value / top)) for value in ticks(top, count))


def _grid_line(label: str, place: float) -> Markup:
    y = f"{place:.2f}%"
    return joined(
        tag("line", x1="0", x2="100%", y1=y, y2=y, class_="grid"),
        tag("text", label, x="-8", y=y, dy="4", class_="tick", text_anchor="end"),
    )


def label_below(label: str, place: float) -> Markup:
    """A label under the plane; place: percent of its width."""
    return tag(
        "text", label, x=f"{place:.2f}%", y="100%", dy="18", class_="tick", text_anchor="middle"
    )


def ticks(top: float, count: int) -> list[float]:
    """Round whole numbers from 0 to at most `top`."""
    raw = top / count
    power = 10.0 ** math.floor(math.log10(raw))
    steps = [factor * power for factor in (1, 2, 2.5, 5, 10)]
    step = max(1.0, next(s for s in steps if s >= raw * 0.999 and (s < 1 or s.is_integer())))
    return [float(v) for v in np.arange(0, top + 1e-9, step)]
