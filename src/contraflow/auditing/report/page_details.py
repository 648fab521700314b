"""Further parts of an audit's report: warnings, what else changed, styles, settings, limits."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from contraflow.auditing.outcome.result import (
    IN_MEMORY,
    AuditResult,
    Estimate,
    Gate,
    ModelInfo,
    ModelResult,
    ProbeRate,
    StyleRate,
)
from contraflow.auditing.report.interval_marks import bar_mark, interval_mark
from contraflow.auditing.report.markup import Markup, data, joined, tag
from contraflow.auditing.report.meanings import LIMITS, OF_GIVEN, OF_NATURAL
from contraflow.auditing.report.reference import is_of_given
from contraflow.auditing.report.shown import (
    interval_text,
    is_known,
    plural,
    usage_text,
    value_text,
    why,
)
from contraflow.system.addresses import without_logins


def warnings(model: ModelResult) -> Markup | None:
    """Failed gates and warnings, to be read before the numbers."""
    lines = [
        *(tag("li", tag("b", gate.name), ": ", data(gate.detail)) for gate in _failed(model.gates)),
        *(tag("li", data(text)) for text in model.warnings),
    ]
    if not lines:
        return None
    title = tag("h3", "Read this first")
    return tag("aside", title, tag("ul", lines), class_="notice", role="note")


def _failed(gates: Sequence[Gate]) -> list[Gate]:
    return [gate for gate in gates if not gate.passed]


def probes(model: ModelResult) -> Markup:
    """Right answers before and after, by kind of question, with examples of what was lost."""
    if not model.probes:
        return tag(
            "p",
            "No locality, portability or multi-hop question was asked (neighbors=, edits=).",
            class_="empty",
        )
    legend = tag(
        "div",
        _swatch("before", "control"),
        _swatch("after", "edited model"),
        class_="legend",
    )
    return joined(legend, tag("div", [_probe(p) for p in model.probes], class_="probes"))


def _swatch(tone: str, label: str) -> Markup:
    return tag("span", tag("i", class_=f"swatch {tone}"), tag("span", label))


def _probe(probe: ProbeRate) -> Markup:
    group, _, name = probe.kind.partition("/")
    title = joined(group.replace("_", " "), tag("small", data(name.replace("_", " "))))
    return tag(
        "figure",
        tag("figcaption", tag("h4", title)),
        _bar_row("before", probe.pre, "before"),
        _bar_row("after", probe.post, "after"),
        tag("p", _kept(probe), class_="note"),
        _lost(probe),
        class_="card probe",
    )


def _bar_row(label: str, estimate: Estimate, tone: str) -> Markup:
    return tag(
        "div",
        tag("span", label, class_="name"),
        bar_mark(estimate, tone, f"Right answers {label}"),
        _figures(estimate),
        class_="pair",
    )


def _figures(estimate: Estimate) -> Markup:
    small = interval_text(estimate) or why(estimate)
    return tag("span", tag("b", value_text(estimate)), tag("small", small), class_="figures")


def _kept(probe: ProbeRate) -> str:
    asked = plural(probe.n, "question")
    if not is_known(probe.kept.value):
        return f"{asked}; the control answers none of them right, so none could be lost"
    kept = f"{value_text(probe.kept)} {interval_text(probe.kept)}".replace(" %", "\u202f%")
    right = plural(probe.kept.n, "right answer")
    return f"{asked}; of the control's {right}, {kept} are still right"


def _lost(probe: ProbeRate) -> Markup | None:
    if not probe.lost:
        return None
    items = [
        tag(
            "li",
            tag("span", data(question), class_="question-text"),
            tag("small", data(before), " \u2192 ", tag("b", data(after))),
        )
        for question, before, after in probe.lost
    ]
    n_lost = probe.kept.n - round((probe.kept.value or 0.0) * probe.kept.n)
    shown = f" ({len(items)} of them here)" if n_lost > len(items) else ""
    summary = tag("summary", plural(n_lost, "lost answer") + shown)
    return tag("details", summary, tag("ul", items, class_="lost"))


def styles(model: ModelResult) -> Markup:
    """Both rates in every style of asking."""
    head = ("Asked as", "Edit failure", "Residual belief")
    rows = [tag("tr", tag("th", s.style, scope="row"), _style_cells(s)) for s in model.styles]
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in head])),
        tag("tbody", rows),
        class_="differences",
    )
    return tag("div", table, class_="card flush scroll")


def _style_cells(style: StyleRate) -> list[Markup]:
    rates = (
        (style.edit_failure, "failing", "Edit failure"),
        (style.residual_belief, "old", "Residual belief"),
    )
    return [
        tag("td", interval_mark(e, "share", tone, label), _figures(e), class_="rate")
        for e, tone, label in rates
    ]


def setup(result: AuditResult, folder: Path) -> Markup:
    """Notes, the command, settings and the models."""
    notes = tag("ul", [tag("li", data(note)) for note in result.notes]) if result.notes else None
    models = [("control", result.control), *((m.model.name, m.model) for m in result.models)]
    pairs = [
        ("edits", f"{result.edits} ({plural(result.n_edits, 'edit')})"),
        ("sampler", result.sampler),
        *result.settings.items(),
        *((name, _described(model)) for name, model in models),
        ("contraflow", f"{result.contraflow}, audit.json version {result.schema_version}"),
    ]
    shown = [
        joined(tag("dt", data(key)), tag("dd", data(without_logins(value)))) for key, value in pairs
    ]
    return joined(
        tag("div", notes, class_="card notes") if notes else None,
        tag("pre", tag("code", command(result, folder)), class_="card command"),
        tag("div", tag("dl", shown, class_="pairs"), class_="card"),
    )


def _described(model: ModelInfo) -> str:
    asked = f"; {usage_text(model.usage)}" if model.usage is not None else ""
    return f"{model.source} (content {model.identity[:16]}){asked}"


def command(result: AuditResult, folder: Path) -> str:
    """The command that makes this audit again; its kept answers are not asked twice."""
    if any(model.model.source == IN_MEMORY for model in result.models):
        return _python_call(result, folder)
    words = {
        "edited": ",".join(model.model.source for model in result.models),
        "names": ",".join(model.model.name for model in result.models),
        "control": result.control.source,
        "edits": result.edits,
        **result.settings,
        "out": str(folder),
    }
    shown = (shlex.quote(without_logins(f"{key}={value}")) for key, value in words.items())
    return " ".join(["contraflow audit", *shown])


def _python_call(result: AuditResult, folder: Path) -> str:
    """The call that makes an audit of modules again."""
    settings = result.settings
    given: dict[str, str] = {
        "control": "control",
        "run": repr(settings["run"]),
        **({"n": settings["n"]} if "n" in settings else {}),
        "styles": repr(tuple(settings["ask"].split(","))),
        "seed": settings["seed"],
        "adapt_steps": settings["adapt_steps"],
        "neighbors": repr(settings["neighbors"]),
        "out": repr(str(folder)),
    }
    given |= {key: repr(settings[key]) for key in ("questions", "prefix") if key in settings}
    words = ", ".join(f"{key}={value}" for key, value in given.items())
    return f"contraflow.audit(edited, tokenizer, {result.edits!r}, {words})"


def limits(result: AuditResult) -> Markup:
    """What the numbers do not mean."""
    sampler = joined("P", tag("sub", "Q"))
    of_given = any(is_of_given(model) for model in result.models)
    lines = [text.split("P_Q") for text in (OF_GIVEN if of_given else OF_NATURAL, *LIMITS)]
    items = [
        tag("li", [joined(sampler if i else None, part) for i, part in enumerate(parts)])
        for parts in lines
    ]
    return tag("ul", items, class_="limits")
