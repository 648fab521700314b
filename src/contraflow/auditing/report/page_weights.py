"""What the numbers of an audit rest on: the weights of its questions, and the gates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from contraflow.auditing.outcome.result import Gate, ModelResult, WeightCheck
from contraflow.auditing.report.axes import label_below, vertical_axis
from contraflow.auditing.report.markup import Markup, data, joined, tag
from contraflow.auditing.report.meanings import weights_verdict
from contraflow.auditing.report.shown import is_known


def ground(model: ModelResult) -> Markup:
    """Weights and gates: what the numbers rest on."""
    weights = model.weights
    mean = f"{weights.mean:.2f}" if is_known(weights.mean) else "\u2013"
    error = f" \u00b1 {weights.standard_error:.2f}" if is_known(weights.standard_error) else ""
    tiles = (
        ("Weight of an edit (1 is due)", mean, error),
        ("Effective questions", f"{weights.ess:.0f}", f" of {weights.n}"),
        ("Effective failing ones", f"{weights.ess_failing:.1f}", ""),
        ("Largest share of one", f"{100 * weights.largest_share:.1f} %", ""),
    )
    return joined(
        tag("p", data(weights_verdict(weights)), class_="verdict"),
        tag(
            "div",
            [
                tag("div", tag("span", label), tag("b", value, tag("small", more)), class_="card")
                for label, value, more in tiles
            ],
            class_="tiles",
        ),
        tag(
            "div",
            tag(
                "figure",
                tag("figcaption", tag("h4", "Weights", tag("small", "log scale, questions"))),
                histogram(weights),
                class_="card",
            ),
            tag(
                "figure", tag("figcaption", tag("h4", "Gates")), _gates(model.gates), class_="card"
            ),
            class_="panels",
        ),
    )


def _gates(gates: Sequence[Gate]) -> Markup:
    return tag(
        "ul",
        [
            tag(
                "li",
                tag("i", "\u2713" if gate.passed else "!", class_="yes" if gate.passed else "bad"),
                tag("span", tag("b", gate.name), tag("small", data(gate.detail))),
            )
            for gate in gates
        ],
        class_="gates",
    )


def histogram(weights: WeightCheck) -> Markup:
    """The draws by weight, on a logarithmic axis."""
    if len(weights.edges) < 2 or not any(weights.counts):
        return tag("p", "There are no weights to show.", class_="empty")
    low, high = weights.edges[0], weights.edges[-1]
    top = max(weights.counts)
    width = 100 / len(weights.counts)
    bars = [
        tag(
            "rect",
            tag("title", f"{count} questions"),
            x=f"{i * width + 0.3:.2f}%",
            y=f"{100 * (1 - count / top):.2f}%",
            width=f"{width - 0.6:.2f}%",
            height=f"{100 * count / top:.2f}%",
            class_="bar after",
        )
        for i, count in enumerate(weights.counts)
    ]
    labels = [
        label_below(_weight(value), 100 * (value - low) / (high - low))
        for value in _log_ticks(low, high)
    ]
    return tag(
        "svg",
        vertical_axis(float(top), 3),
        bars,
        labels,
        class_="chart",
        role="img",
        aria_label=f"{weights.n} questions by weight, from {_weight(low)} to {_weight(high)}",
    )


def _weight(log10: float) -> str:
    """A weight with two digits and without an exponent: "0.03", "100"."""
    return f"{float(f'{10**log10:.2g}'):g}"


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within the axis, with 3 and 0.3 on a short one; its ends without any."""
    steps = [math.log10(f) for f in ((1, 3) if high - low < 3 else (1,))]
    powers = range(math.floor(low), math.ceil(high) + 1)
    inside = [p + s for p in powers for s in steps if low <= p + s <= high]
    return inside[:: max(1, math.ceil(len(inside) / 7))] or [low, high]
