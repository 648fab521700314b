"""`report.html` of an audit: one self-contained file that makes no request and trusts no text.

Everything but the opened rows of the table is plain HTML and SVG, so it reads without scripts too.
Look, number formats and the guards against texts of data are those of a run's report.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

from contraflow.auditing.outcome.result import AuditResult, ModelResult
from contraflow.auditing.outcome.rows import Row
from contraflow.auditing.report.markup import Markup, data, joined, tag
from contraflow.auditing.report.page_data import script_data
from contraflow.auditing.report.page_details import limits, probes, setup, styles, warnings
from contraflow.auditing.report.page_discovery import discovery
from contraflow.auditing.report.page_facts import facts_table
from contraflow.auditing.report.page_matrix import matrices
from contraflow.auditing.report.page_summary import MARK, cards, comparison, headline_html, masthead
from contraflow.auditing.report.page_weights import ground
from contraflow.auditing.report.reference import about
from contraflow.evaluation.report import asset, fill_page
from contraflow.system.files import write_atomically

ASSETS = "audit_report"
REPORT = "report.html"
SCRIPTS = ("tables.js", "opened.js", "audit.js")


def write_report(folder: Path, result: AuditResult, rows: Iterable[Row] | None = None) -> Path:
    """Write `report.html` into the folder of an audit and return its path.

    rows: of `questions.jsonl`; with them every failing question is shown with both answers.
    Raises: OSError.
    """
    path = Path(folder) / REPORT
    write_atomically(path, render(result, Path(folder), rows).encode())
    return path


def render(result: AuditResult, folder: Path, rows: Iterable[Row] | None = None) -> str:
    """Return the page. folder: where the audit lies, for the title and the command."""
    name = folder.resolve().name
    return fill_page(
        asset("audit.html", ASSETS),
        title=html.escape(f"{name} · contraflow audit"),
        style=f"{asset('report.css')}\n{asset('audit.css', ASSETS)}",
        scripts=[asset("core.js"), *(asset(script, ASSETS) for script in SCRIPTS)],
        data=script_data(result, rows),
        nav=_nav(result, name),
        body=_body(result, folder),
    )


def _nav(result: AuditResult, name: str) -> Markup:
    home = tag("a", MARK, data(name), href="#page", class_="home")
    links = [
        *([("#compare", "Side by side", False)] if len(result.models) > 1 else []),
        ("#facts-0", "Facts", True),
        ("#answers-0", "Answers", True),
        ("#discovery-0", "Discovery", True),
        ("#probes-0", "What else changed", True),
        ("#ground-0", "Trust", True),
        ("#setup", "Setup", False),
        ("#limits", "Limits", False),
    ]
    return joined(home, [tag("a", text, href=to, data_part=part) for to, text, part in links])


def _body(result: AuditResult, folder: Path) -> Markup:
    several = len(result.models) > 1
    return joined(
        masthead(result),
        comparison(result) if several else None,
        _tabs(result) if several else None,
        [_panel(model, i, titled=several) for i, model in enumerate(result.models)],
        _section("setup", "Setup", "How to get these numbers again.", setup(result, folder)),
        _section("limits", "What the numbers do not mean", None, limits(result)),
        tag("footer", "Written by contraflow. This file loads nothing from anywhere."),
    )


def _tabs(result: AuditResult) -> Markup:
    buttons = [
        tag(
            "button",
            tag("i", class_=f"swatch s{i % 6}"),
            data(model.model.name),
            type="button",
            role="tab",
            id=f"tab-{i}",
            aria_controls=f"model-{i}",
            aria_selected="true" if i == 0 else "false",
        )
        for i, model in enumerate(result.models)
    ]
    return tag("div", buttons, class_="tabs", role="tablist", aria_label="Models", hidden=True)


def _panel(model: ModelResult, index: int, *, titled: bool) -> Markup:
    """All parts of one edited model."""
    title = None
    if titled:
        title = joined(
            tag("h2", data(model.model.name), class_="model-name"),
            tag("p", headline_html(model), class_="lede"),
        )
    parts = (
        ("facts", "Fact by fact", about(model, FACTS), facts_table(model, index)),
        ("answers", "Before and after the edit", ANSWERS, matrices(model)),
        ("discovery", "What each source found", DISCOVERY, discovery(model, index)),
        ("probes", "What else changed", PROBES, probes(model)),
        ("styles", "Styles of asking", STYLES, styles(model) if len(model.styles) > 1 else None),
        ("ground", "What the numbers rest on", GROUND, ground(model)),
    )
    return tag(
        "div",
        title,
        warnings(model),
        cards(model),
        [
            _section(f"{key}-{index}", heading, lede, part)
            for key, heading, lede, part in parts
            if part is not None
        ],
        class_="panel",
        id=f"model-{index}",
    )


def _section(key: str, heading: str, lede: str | None, *content: Markup) -> Markup:
    return tag(
        "section",
        tag("h2", heading, id=f"{key}-title"),
        tag("p", lede, class_="lede") if lede else None,
        *content,
        id=key,
        aria_labelledby=f"{key}-title",
    )


FACTS = (
    "Each edit with its rates among natural questions; bands are 95\u2009% intervals. A row opens "
    "its failing questions by mode. Click a heading to sort."
)
ANSWERS = (
    "Each sound question about a counted fact by what the control says and what the edited model "
    "says. Only the row “old” counts, where the control tells the old fact: everything "
    "but “new” in it is an edit failure, “old” again is a residual belief."
)
DISCOVERY = (
    "The expected number found after so many questions in random order. A search yield, not a "
    "rate. A source may ask more about some edits than about others, so the sentences below "
    "compare two sources with equally many questions about each edit. Bands are 95 % intervals for "
    "edits like these."
)
PROBES = (
    "Right answers to questions that the edit should leave alone (locality), and to those whose "
    "answer follows from it (portability, multi-hop)."
)
STYLES = "The same questions, put to both models in other ways. The headline is of the first one."
GROUND = (
    "Drawn questions are weighted to stand for the untrained sampler\u2019s. A rate is certain "
    "where the weights of an edit add up to about 1 and their effective number is large."
)
