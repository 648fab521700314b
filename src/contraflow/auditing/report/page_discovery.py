"""What each source of questions found: curves, a table, and comparisons in words."""

from __future__ import annotations

from collections.abc import Sequence

from contraflow.auditing.outcome.result import ModelResult, SourceYield
from contraflow.auditing.outcome.rows import ADAPTED, OWN, PARAPHRASE, PRIOR, SAMPLER
from contraflow.auditing.report.axes import label_below, ticks, vertical_axis
from contraflow.auditing.report.interval_marks import interval_mark, polygon, polyline
from contraflow.auditing.report.markup import Markup, joined, tag
from contraflow.auditing.report.shown import full_text, interval_text, value_text
from contraflow.auditing.report.source_words import comparison_text, continuations_text

SOURCE_NAMES = {
    SAMPLER: "trained sampler",
    PRIOR: "untrained sampler",
    PARAPHRASE: "paraphrases of the file",
    ADAPTED: "adapted sampler",
    OWN: "your questions",
}
SOURCE_TONES = {SAMPLER: "s0", PRIOR: "s1", PARAPHRASE: "s2", ADAPTED: "s4", OWN: "s3"}


def discovery(model: ModelResult, index: int) -> Markup:
    """Curves of distinct failing questions and of modes, a table, and comparisons."""
    sources = [source for source in model.sources if source.asked]
    if not sources:
        none = tag("p", "No question was asked that could have failed.", class_="empty")
        return joined(none, _in_words(model))
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
            _curves("Distinct failing questions", "failing", sources, index),
            _curves("Failure modes", "modes", sources, index),
            class_="panels",
        ),
        _sources_table(sources),
        _in_words(model),
    )


def _in_words(model: ModelResult) -> Markup | None:
    """Who found more with equally many questions about each edit, and what was no question."""
    said = [comparison_text(c, SOURCE_NAMES) for c in model.comparisons]
    said += [continuations_text(found, SOURCE_NAMES) for found in model.continuations]
    if not said:
        return None
    return tag("ul", [tag("li", text) for text in said], class_="comparisons")


def _name(source: SourceYield) -> str:
    return SOURCE_NAMES.get(source.source, source.source)


def _tone(source: SourceYield) -> str:
    return SOURCE_TONES.get(source.source, "s5")


def _curves(title: str, which: str, sources: Sequence[SourceYield], index: int) -> Markup:
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


def _sources_table(sources: Sequence[SourceYield]) -> Markup:
    head = [
        ("Source", None),
        ("Asked", "number"),
        ("Failing", "number"),
        ("Modes", "number"),
        ("Failing per 100", "rate"),
    ]
    rows = [
        tag(
            "tr",
            tag("th", tag("i", class_=f"swatch {_tone(s)}"), " ", _name(s), scope="row"),
            [
                tag("td", text, class_="number", data_label=label)
                for text, (label, _) in zip(_counts(s), head[1:-1], strict=True)
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


def _counts(source: SourceYield) -> list[str]:
    return [str(n) for n in (source.n_asked, source.n_failing, source.n_modes)]


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
