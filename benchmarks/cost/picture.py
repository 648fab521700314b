"""Seconds and memory of a step along each size that was varied: what was measured as dots, the law
as a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cost_law import Law, predict
from cost_points import Point, Sizes

PANELS = {
    "length": "tokens of a question",
    "n": "questions a fact",
    "facts": "facts a step",
    "params": "million parameters",
}
_ROWS = {"step": "seconds of a step", "mib": "peak memory, MiB"}
_WIDTH, _HEIGHT, _LEFT, _TOP = 230, 190, 44, 34
_COLOUR = "#3b6fb6"


def picture(points: Sequence[Point], law: Law) -> str:
    """A panel for each size, seconds above memory."""
    drawn = [
        _panel(points, law, size, what, column * _WIDTH, row * _HEIGHT)
        for row, what in enumerate(_ROWS)
        for column, size in enumerate(PANELS)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH * len(PANELS) + 10} {_HEIGHT * 2 + 4}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(drawn)}</svg>\n"
    )


def along(points: Sequence[Point], size: str) -> list[Point]:
    """The largest set of points that differ in this size alone, in its order."""
    families: dict[Sizes, list[Point]] = {}
    for point in points:
        families.setdefault(replace(point.sizes, **{size: 0}), []).append(point)
    return sorted(max(families.values(), key=len), key=lambda p: float(getattr(p.sizes, size)))


def _panel(points: Sequence[Point], law: Law, size: str, what: str, left: float, top: float) -> str:
    some = along(points, size)
    unit = 1e6 if size == "params" else 1
    at = [getattr(p.sizes, size) / unit for p in some]
    spans = [(p.least, p.step, p.most) if what == "step" else (*_around(p),) for p in some]
    most = 1.1 * max(high for _, _, high in spans)
    wide, high = _WIDTH - _LEFT - 16, _HEIGHT - _TOP - 32

    def x(value: float) -> float:
        return left + _LEFT + wide * value / max(at)

    def y(value: float) -> float:
        return top + _TOP + high * (1 - value / most)

    steps = [max(at) * i / 24 for i in range(1, 25)]
    line = [
        (v, predict(law, replace(some[0].sizes, **{size: v * unit}))[what])
        for v in steps
        if v >= min(at)
    ]
    path = " ".join(f"{x(v):.1f},{y(told):.1f}" for v, told in line)
    parts = [
        f'<text x="{left + 10}" y="{top + 16}" font-weight="bold">{_ROWS[what]}</text>',
        f'<text x="{left + 10}" y="{top + 29}" fill="#58585a">{_fixed(some[0].sizes, size)}</text>',
        f'<path d="M{left + _LEFT} {top + _TOP}v{high}h{wide}" fill="none" stroke="#58585a"/>',
        f'<text x="{left + _LEFT + wide}" y="{top + _HEIGHT - 6}" text-anchor="end">{PANELS[size]}</text>',
        f'<polyline points="{path}" fill="none" stroke="{_COLOUR}" stroke-opacity="0.5" stroke-width="2"/>',
    ]
    for value in (0.0, most / 1.1):
        shown = f"{value:.0f}" if what == "mib" or not value else f"{value:.1f}"
        parts.append(
            f'<text x="{left + _LEFT - 4}" y="{y(value) + 4:.1f}" text-anchor="end">{shown}</text>'
        )
    for value, (low, middle, top_of) in zip(at, spans, strict=True):
        parts.append(
            f'<path d="M{x(value):.1f} {y(low):.1f}V{y(top_of):.1f}" stroke="{_COLOUR}"/>'
            f'<circle cx="{x(value):.1f}" cy="{y(middle):.1f}" r="3.5" fill="{_COLOUR}"/>'
            f'<text x="{x(value):.1f}" y="{top + _TOP + high + 13}" text-anchor="middle">{value:.0f}</text>'
        )
    return "".join(parts)


def _around(point: Point) -> tuple[float, float, float]:
    return point.mib_range[0], point.mib, point.mib_range[1]


def _fixed(sizes: Sizes, size: str) -> str:
    """What is the same in all of a panel."""
    told = {
        "facts": f"facts {sizes.facts}",
        "n": f"n {sizes.n}",
        "length": f"length {sizes.length}",
        "params": f"{sizes.params / 1e6:.0f}M",
    }
    return ", ".join(text for name, text in told.items() if name != size)
