"""The pre × post heat map of an audit's report: what the control says by what the edit says."""

from __future__ import annotations

import math
from collections.abc import Sequence

from contraflow.auditing.outcome.result import VERDICTS, ModelResult
from contraflow.auditing.report.markup import Markup, tag
from contraflow.auditing.report.reference import reference

N_HEAT = 10
OLD = VERDICTS.index("OLD")
NEW = VERDICTS.index("NEW")


def matrices(model: ModelResult) -> Markup:
    """What the control said and what the edited model says, in counts and in weighted shares."""
    counts = [[str(value) for value in line] for line in model.matrix]
    shares = [[_share(value) for value in line] for line in model.weighted_matrix]
    of_rates = reference(model).removeprefix("the ").capitalize()
    return tag(
        "div",
        _matrix("Questions asked", "sound ones, from all sources", counts, model.matrix),
        _matrix(of_rates, "weighted shares in percent", shares, model.weighted_matrix),
        class_="panels",
    )


def _share(value: float) -> str:
    if value == 0:
        return "0"
    return "<0.1" if value < 0.0005 else f"{100 * value:.1f}"


def _matrix(
    title: str, unit: str, texts: Sequence[Sequence[str]], values: Sequence[Sequence[float]]
) -> Markup:
    top = max((value for line in values for value in line), default=0)
    head = tag("tr", tag("td"), [tag("th", _verdict(v), scope="col") for v in VERDICTS])
    body = [
        tag(
            "tr",
            tag("th", _verdict(VERDICTS[i]), scope="row"),
            [_cell(i, j, texts[i][j], value, top) for j, value in enumerate(line)],
        )
        for i, line in enumerate(values)
    ]
    table = tag(
        "table",
        tag("caption", "columns: the edited model says; rows: the control says"),
        tag("thead", head),
        tag("tbody", body),
        class_="matrix",
    )
    caption = tag("figcaption", tag("h4", title, tag("small", unit)))
    return tag("figure", caption, table, class_="card")


def _verdict(verdict: str) -> str:
    return verdict.lower().replace("degenerate", "degen\u00aderate")


def _cell(pre: int, post: int, text: str, value: float, top: float) -> Markup:
    heat = math.ceil(N_HEAT * math.sqrt(value / top)) if top > 0 and value > 0 else 0
    tone = "other"
    if pre == OLD:
        tone = "after" if post == NEW else "old" if post == OLD else "failing"
    says = f"control {VERDICTS[pre]}, edited {VERDICTS[post]}: {text}"
    return tag("td", text, class_=f"heat h{heat} {tone}", title=says)
