"""Picture of a step's seconds and memory along each varied size: measurements as dots, the law as a
line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from benchmarks.cost.law import Law, predict
from benchmarks.cost.points import Point, Sizes

PANELS = {
    "length": "tokens of a question",
    "n": "questions a fact",
    "facts": "facts a step",
    "params": "million parameters",
}
_ROWS = {"step": "seconds of a step", "mib": "peak memory, MiB"}
_WIDTH = 230
_HEIGHT = 190
_LEFT = 44
_TOP = 34
_COLOR = "#3b6fb6"


def picture(points: Sequence[Point], law: Law) -> str:
    """An SVG with a panel for each size, seconds above memory."""
    panels = []
    for row, quantity in enumerate(_ROWS):
        for column, size in enumerate(PANELS):
            panels.append(_panel(points, law, size, quantity, column * _WIDTH, row * _HEIGHT))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {_WIDTH * len(PANELS) + 10} {_HEIGHT * 2 + 4}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(panels)}</svg>\n"
    )


def along(points: Sequence[Point], size: str) -> list[Point]:
    """The largest set of points that differ in this size only, sorted by it."""
    families: dict[Sizes, list[Point]] = {}
    for point in points:
        families.setdefault(replace(point.sizes, **{size: 0}), []).append(point)
    largest = max(families.values(), key=len)
    return sorted(largest, key=lambda p: float(getattr(p.sizes, size)))


def _panel(
    points: Sequence[Point], law: Law, size: str, quantity: str, left: float, top: float
) -> str:
    some = along(points, size)
    unit = 1e6 if size == "params" else 1
    at: list[float] = [getattr(p.sizes, size) / unit for p in some]
    spans = [_span(p, quantity) for p in some]
    most = 1.1 * max(high for _, _, high in spans)
    width = _WIDTH - _LEFT - 16
    height = _HEIGHT - _TOP - 32

    def x(value: float) -> float:
        return left + _LEFT + width * value / max(at)

    def y(value: float) -> float:
        return top + _TOP + height * (1 - value / most)

    line = []
    for value in (max(at) * i / 24 for i in range(1, 25)):
        if value >= min(at):
            sizes = asdict(some[0].sizes) | {size: value * unit}
            predicted = predict(law, Sizes(**sizes))
            line.append(f"{x(value):.1f},{y(predicted[quantity]):.1f}")
    fixed = _fixed(some[0].sizes, size)
    parts = [
        f'<text x="{left + 10}" y="{top + 16}" font-weight="bold">{_ROWS[quantity]}</text>',
        f'<text x="{left + 10}" y="{top + 29}" fill="#58585a">{fixed}</text>',
        f'<path d="M{left + _LEFT} {top + _TOP}v{height}h{width}" fill="none" stroke="#58585a"/>',
        f'<text x="{left + _LEFT + width}" y="{top + _HEIGHT - 6}" text-anchor="end">'
        f"{PANELS[size]}</text>",
        f'<polyline points="{" ".join(line)}" fill="none" stroke="{_COLOR}" stroke-opacity="0.5" '
        f'stroke-width="2"/>',
    ]
    for value in (0.0, most / 1.1):
        label = f"{value:.0f}" if quantity == "mib" or not value else f"{value:.1f}"
        parts.append(
            f'<text x="{left + _LEFT - 4}" y="{y(value) + 4:.1f}" text-anchor="end">{label}</text>'
        )
    for value, (low, middle, high) in zip(at, spans, strict=True):
        parts.append(
            f'<path d="M{x(value):.1f} {y(low):.1f}V{y(high):.1f}" stroke="{_COLOR}"/>'
            f'<circle cx="{x(value):.1f}" cy="{y(middle):.1f}" r="3.5" fill="{_COLOR}"/>'
            f'<text x="{x(value):.1f}" y="{top + _TOP + height + 13}" text-anchor="middle">'
            f"{value:.0f}</text>"
        )
    return "".join(parts)


def _span(point: Point, quantity: str) -> tuple[float, float, float]:
    """Least, median and most of seconds or of memory."""
    if quantity == "step":
        return point.least, point.step, point.most
    return point.mib_range[0], point.mib, point.mib_range[1]


def _fixed(sizes: Sizes, varied: str) -> str:
    """The sizes that a panel keeps fixed."""
    texts = {
        "facts": f"facts {sizes.facts}",
        "n": f"n {sizes.n}",
        "length": f"length {sizes.length}",
        "params": f"{sizes.params / 1e6:.0f}M",
    }
    return ", ".join(text for name, text in texts.items() if name != varied)
