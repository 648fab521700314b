"""What each source of questions found: curves, and a table at an equal number of questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contraflow.auditing.report.axes import label_below, ticks, vertical_axis
from contraflow.auditing.report.interval_marks import interval_mark, polygon, polyline
from contraflow.auditing.report.markup import Markup, joined, tag
from contraflow.auditing.report.shown import full_text, interval_text, value_text
from contraflow.auditing.report.source_words import comparison_text
from contraflow.auditing.result import ModelResult, SourceYield
from contraflow.auditing.rows import ADAPTED, OWN, PARAPHRASE, PRIOR, SAMPLER

SOURCE_NAMES = {
    SAMPLER: "trained sampler",
    PRIOR: "untrained sampler",
    PARAPHRASE: "paraphrases of the file",
    ADAPTED: "adapted sampler",
    OWN: "your questions",
}
SOURCE_TONES = {SAMPLER: "s0", PRIOR: "s1", PARAPHRASE: "s2", ADAPTED: "s4", OWN: "s3"}


def discovery(model: ModelResult, index: int) -> Markup:
    """Curves of distinct failing questions and of modes, and a table at an equal budget."""
    sources = [source for source in model.sources if source.asked]
    if not sources:
        return tag("p", "No question was asked that could have failed.", class_="empty")
    budget = min(source.n_asked for source in sources)
    legend = tag(
        "div",
        [
            tag("span", tag("i", class_=f"swatch {_tone(s)}"), tag("span", _name(s)))
            for s in sources
        ],
        class_="legend",
    )
    return joined(
        legend,
        tag(
            "div",
            _curves("Distinct failing questions", "failing", sources, budget, index),
            _curves("Failure modes", "modes", sources, budget, index),
            class_="panels",
        ),
        _sources_table(sources, budget),
        _comparisons(model),
    )


def _comparisons(model: ModelResult) -> Markup | None:
    """Who found more at an equal number of questions, in words."""
    if not model.comparisons:
        return None
    said = [tag("li", comparison_text(c, SOURCE_NAMES)) for c in model.comparisons]
    return tag("ul", said, class_="comparisons")


def _name(source: SourceYield) -> str:
    return SOURCE_NAMES.get(source.source, source.source)


def _tone(source: SourceYield) -> str:
    return SOURCE_TONES.get(source.source, "s5")


def _curves(
    title: str, which: str, sources: Sequence[SourceYield], budget: int, index: int
) -> Markup:
    right = float(max(source.n_asked for source in sources))
    heights = [getattr(source, name) for source in sources for name in (which, f"{which}_high")]
    top = max(1.0, *(max(curve, default=0.0) for curve in heights))
    lines = [
        polyline(
            [asked / right for asked in source.asked],
            [found / top for found in getattr(source, which)],
            _tone(source),
        )
        for source in sources
    ]
    bands = [
        polygon(
            [asked / right for asked in source.asked],
            [low / top for low in getattr(source, f"{which}_low")],
            [high / top for high in getattr(source, f"{which}_high")],
            _tone(source),
        )
        for source in sources
        if getattr(source, f"{which}_low")
    ]
    ends = [
        tag(
            "circle",
            cx=f"{100 * source.asked[-1] / right:.2f}%",
            cy=f"{100 * (1 - getattr(source, which)[-1] / top):.2f}%",
            r="3.5",
            class_=f"mark {_tone(source)}",
        )
        for source in sources
    ]
    at = f"{100 * budget / right:.2f}%"
    shared = tag("line", x1=at, x2=at, y1="0", y2="100%", class_="rule") if budget < right else None
    plane = tag(
        "svg",
        bands,
        lines,
        viewBox="0 0 1000 1000",
        preserveAspectRatio="none",
        width="100%",
        height="100%",
    )
    said = "; ".join(f"{_name(s)}: {getattr(s, which)[-1]:.0f} of {s.n_asked}" for s in sources)
    chart = tag(
        "svg",
        vertical_axis(top),
        [label_below(f"{value:g}", 100 * value / right) for value in ticks(right, 4)],
        shared,
        plane,
        ends,
        class_="chart",
        role="img",
        aria_label=f"{title} by questions asked. {said}",
        data_model=str(index),
        data_which=which,
        data_right=str(int(right)),
    )
    caption = tag("figcaption", tag("h4", title, tag("small", "by questions asked")))
    return tag("figure", caption, chart, class_="card")


def _sources_table(sources: Sequence[SourceYield], budget: int) -> Markup:
    head = [
        ("Source", None),
        ("Asked", "number"),
        ("Failing", "number"),
        ("Modes", "number"),
        (f"Failing at {budget}", "number"),
        (f"Modes at {budget}", "number"),
        ("Failing per 100", "rate"),
    ]
    rows = [
        tag(
            "tr",
            tag("th", tag("i", class_=f"swatch {_tone(s)}"), " ", _name(s), scope="row"),
            [
                tag("td", text, class_="number", data_label=label)
                for text, (label, _) in zip(_counts(s, budget), head[1:-1], strict=True)
            ],
            tag("td", *_per_100(s), class_="rate", data_label=head[-1][0]),
        )
        for s in sources
    ]
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", text, scope="col", class_=c) for text, c in head])),
        tag("tbody", rows),
        class_="sources",
    )
    return tag("div", table, class_="card flush scroll below")


def _counts(source: SourceYield, budget: int) -> list[str]:
    equal = [np.interp(budget, source.asked, curve) for curve in (source.failing, source.modes)]
    whole = [str(n) for n in (source.n_asked, source.n_failing, source.n_modes)]
    return [*whole, *(f"{value:.1f}" for value in equal)]


def _per_100(source: SourceYield) -> tuple[Markup, Markup]:
    estimate = source.per_100
    words = (
        tag("b", value_text(estimate, "per_100").removesuffix(" per 100")),
        tag("small", interval_text(estimate, "per_100")),
    )
    return (
        interval_mark(estimate, "per_100", _tone(source), _name(source)),
        tag("span", *words, class_="figures", title=full_text(estimate, "per_100")),
    )
