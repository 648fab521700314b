"""Small charts as SVG whose lengths are percentages, so that they need no script to fit."""

from __future__ import annotations

from collections.abc import Sequence

from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.report.markup import Markup, tag
from contraflow.auditing.report.shown import Unit, full_text, is_known

RANGES: dict[Unit, tuple[float, float]] = {
    "share": (0.0, 1.0),
    "points": (-1.0, 1.0),
    "per_100": (0.0, 100.0),
}


def interval_mark(estimate: Estimate, unit: Unit, tone: str, label: str) -> Markup:
    """A track with the interval as a band and the value as a dot; the track alone without one."""
    marks = [_line("track", 0, 100)]
    if unit == "points":
        marks.append(tag("line", x1="50%", x2="50%", y1="2", y2="16", class_="zero"))
    if is_known(estimate.value):
        if is_known(estimate.low) and is_known(estimate.high):
            marks.append(
                _line(f"band {tone}", _place(estimate.low, unit), _place(estimate.high, unit))
            )
        dot = f"{_place(estimate.value, unit):.2f}%"
        marks.append(tag("circle", cx=dot, cy="9", r="5.5", class_=f"mark {tone}"))
    described = f"{label}: {full_text(estimate, unit)}"
    return tag("svg", tag("title", described), *marks, class_="interval", role="img")


def bar_mark(estimate: Estimate, tone: str, label: str) -> Markup:
    """A bar of a share with its interval as a whisker."""
    marks = [tag("rect", x="0", y="5", width="100%", height="8", rx="2", class_="bed")]
    if is_known(estimate.value):
        width = f"{_place(estimate.value, 'share'):.2f}%"
        marks.append(
            tag("rect", x="0", y="5", width=width, height="8", rx="2", class_=f"bar {tone}")
        )
    if is_known(estimate.low) and is_known(estimate.high):
        low, high = _place(estimate.low, "share"), _place(estimate.high, "share")
        marks += [_line("whisker", low, high), _cap(low), _cap(high)]
    return tag(
        "svg",
        tag("title", f"{label}: {full_text(estimate)}"),
        *marks,
        class_="interval",
        role="img",
    )


def polyline(xs: Sequence[float], ys: Sequence[float], tone: str) -> Markup:
    """A curve in a square of 1000 units that is stretched; y grows upwards. Inputs are 0 … 1."""
    points = " ".join(f"{1000 * x:.1f},{1000 * (1 - y):.1f}" for x, y in zip(xs, ys, strict=True))
    return tag("polyline", points=points, class_=f"line {tone}", vector_effect="non-scaling-stroke")


def polygon(
    xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], tone: str
) -> Markup:
    """A band around a curve, in the square of `polyline`."""
    edge = [*zip(xs, lows, strict=True), *reversed(list(zip(xs, highs, strict=True)))]
    points = " ".join(f"{1000 * x:.1f},{1000 * (1 - y):.1f}" for x, y in edge)
    return tag("polygon", points=points, class_=f"band {tone}")


def _line(name: str, start: float, end: float) -> Markup:
    return tag("line", x1=f"{start:.2f}%", x2=f"{end:.2f}%", y1="9", y2="9", class_=name)


def _cap(at: float) -> Markup:
    return tag("line", x1=f"{at:.2f}%", x2=f"{at:.2f}%", y1="6", y2="12", class_="whisker")


def _place(value: float | None, unit: Unit) -> float:
    """Percent of the track, within it."""
    low, high = RANGES[unit]
    return 100 * min(1.0, max(0.0, ((value or 0.0) - low) / (high - low)))
