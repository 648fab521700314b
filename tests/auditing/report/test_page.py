"""What the report of an audit contains and refuses. `test_report_browser.py` opens it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from contraflow.auditing.outcome.result import (
    AuditResult,
    Continuations,
    Estimate,
    ModelResult,
    WeightCheck,
    read_result,
    write_result,
)
from contraflow.auditing.outcome.rows import OWN, PARAPHRASE, Row
from contraflow.auditing.report.headline import headline
from contraflow.auditing.report.meanings import CARDS
from contraflow.auditing.report.page import render
from contraflow.auditing.report.page_discovery import SOURCE_NAMES
from contraflow.auditing.report.shown import interval_text, number, value_text
from contraflow.auditing.report.source_words import comparison_text
from support.audits import made_audit, made_result
from support.audits_page import data_of, written
from support.html_tree import Node


def with_model(result: AuditResult, **changes: Any) -> AuditResult:
    first = msgspec.structs.replace(result.models[0], **changes)
    return msgspec.structs.replace(result, models=(first, *result.models[1:]))


@pytest.fixture(scope="module")
def audit() -> tuple[AuditResult, list[Row]]:
    made = made_audit(3, 12)
    return made.result, made.rows


@pytest.fixture(scope="module")
def page(audit: tuple[AuditResult, list[Row]], tmp_path_factory: pytest.TempPathFactory) -> Node:
    return written(tmp_path_factory.mktemp("audit"), *audit)


def plain(text: str) -> str:
    return text.replace("\u202f", " ").replace("\u2009", " ")


def test_the_headlines_are_the_models_sentences(page: Node, audit: Any) -> None:
    (masthead,) = page.find("header")
    said = [plain(node.text) for node in masthead.find("p", class_="summary")]
    assert said == [headline(model) for model in audit[0].models]


def test_each_card_shows_value_and_interval(page: Node, audit: Any) -> None:
    panels = page.find("div", class_="panel")
    assert len(panels) == 3
    for panel, model in zip(panels, audit[0].models, strict=True):
        for measure in CARDS:
            (card,) = panel.find("article", data_measure=measure.name)
            estimate = measure.of(model)
            big = plain(card.find("p", class_="big")[0].text)
            assert big == plain(value_text(estimate, measure.unit))
            below = card.find("p", class_="change")[0].text
            assert below.startswith(interval_text(estimate, measure.unit))
            assert measure.meaning in card.text


def test_a_mark_lies_where_its_number_is(page: Node, audit: Any) -> None:
    model = audit[0].models[0]
    (card,) = page.find("div", id="model-0")[0].find("article", data_measure="edit_failure")
    (dot,) = card.find("circle")
    assert dot.attributes["cx"] == f"{100 * model.edit_failure.value:.2f}%"
    (band,) = card.find("line", class_="band")
    assert band.attributes["x1"] == f"{100 * model.edit_failure.low:.2f}%"
    assert band.attributes["x2"] == f"{100 * model.edit_failure.high:.2f}%"


def test_every_fact_has_a_row_the_worst_first(page: Node, audit: Any) -> None:
    model: ModelResult = audit[0].models[1]
    rows = page.find("div", id="model-1")[0].find("table", class_="edits")[0].find("tr")[1:]
    assert sorted(int(row.attributes["data-row"] or "") for row in rows) == list(range(12))
    rates = []
    for row in rows[:-1]:
        fact = model.facts[int(row.attributes["data-row"] or "")]
        assert fact.subject in row.text
        assert value_text(fact.edit_failure) in row.text
        assert interval_text(fact.residual_belief) in row.text
        assert row.attributes["data-failing"] == str(fact.n_failing)
        rates.append(fact.edit_failure.value or 0.0)
    assert rates == sorted(rates, reverse=True)
    assert "not counted: the control does not tell the original answer" in rows[-1].text


def test_the_matrix_shows_all_counts_and_shares(page: Node, audit: Any) -> None:
    model = audit[0].models[0]
    counts, shares = page.find("div", id="model-0")[0].find("table", class_="matrix")
    cells = [int(cell.text) for cell in counts.find("td", class_="heat")]
    assert np.reshape(cells, (5, 5)).tolist() == [list(line) for line in model.matrix]
    shown = [cell.text for cell in shares.find("td", class_="heat")]
    expected = [value for line in model.weighted_matrix for value in line]
    assert len(shown) == 25
    for text, value in zip(shown, expected, strict=True):
        assert text == ("0" if value == 0 else f"{100 * value:.1f}")


def test_a_fuller_cell_is_darker(page: Node, audit: Any) -> None:
    model = audit[0].models[0]
    counts = page.find("div", id="model-0")[0].find("table", class_="matrix")[0]
    heat = [
        int(re.findall(r"\bh(\d+)", cell.attributes["class"] or "")[0])
        for cell in counts.find("td", class_="heat")
    ]
    order = np.argsort(np.ravel(model.matrix), kind="stable")
    assert np.all(np.diff(np.array(heat)[order]) >= 0)
    assert max(heat) == 10 and min(heat) == 0


def test_sources_have_their_counts_and_are_compared(page: Node, audit: Any) -> None:
    """No column puts pooled numbers of two sources side by side: they ask of edits unequally."""
    model = audit[0].models[0]
    panel = page.find("div", id="model-0")[0]
    table = panel.find("table", class_="sources")[0]
    assert [th.text for th in table.find("tr")[0].find("th")] == [
        *("Source", "Asked", "Failing", "Modes", "Failing per 100")
    ]
    for row, source in zip(table.find("tr")[1:], model.sources, strict=True):
        cells = [cell.text for cell in row.find("td", class_="number")]
        assert cells == [str(source.n_asked), str(source.n_failing), str(source.n_modes)]
    said = [item.text for item in panel.find("ul", class_="comparisons")[0].find("li")]
    assert said == [comparison_text(c, SOURCE_NAMES) for c in model.comparisons]


def test_texts_to_be_continued_are_said(tmp_path: Path) -> None:
    """Also where nothing else was asked, as of CounterFact without a sampler's questions."""
    found = Continuations(source=PARAPHRASE, n_given=24, n_continuations=20, n_known=8, n_failing=3)
    for sources in (made_result().models[0].sources, ()):
        changes = {"sources": sources, "comparisons": (), "continuations": (found,)}
        page = written(tmp_path, with_model(made_result(), **changes))
        (item,) = page.find("ul", class_="comparisons")[0].find("li")
        assert item.text == (
            "Paraphrases of the file: 20 of 24 are texts to be continued, not questions, and in no "
            "rate and no comparison; the control continues 8 of them with the old answer, the "
            "edited model 3 of these without the new one."
        )


def test_a_card_says_what_its_number_counts(page: Node, audit: Any) -> None:
    """`n` of the forced score and of the gap counts edits, that of a rate questions."""
    model = audit[0].models[0]
    panel = page.find("div", id="model-0")[0]
    nouns = {"asked_forced": "edits", "audit_gap": "edits", "discovery": "question"}
    for name, noun in nouns.items():
        (card,) = panel.find("article", data_measure=name)
        estimate = next(m for m in CARDS if m.name == name).of(model)
        assert f"{estimate.n} {noun}" in card.find("p", class_="change")[0].text


def test_probes_show_before_after_and_what_was_lost(page: Node, audit: Any) -> None:
    figures = page.find("div", id="model-0")[0].find("figure", class_="probe")
    for figure, probe in zip(figures, audit[0].models[0].probes, strict=True):
        assert value_text(probe.pre) in figure.text
        assert value_text(probe.post) in figure.text
        assert f"{probe.kept.n} right answers" in figure.text
        assert len(figure.find("li")) == len(probe.lost)


def test_paired_differences_are_shown(page: Node, audit: Any) -> None:
    table = page.find("table", class_="differences")[0]
    for row, found in zip(table.find("tr")[1:], audit[0].differences, strict=True):
        assert row.text.startswith(f"{found.first} − {found.second}")
        assert interval_text(found.edit_failure, "points") in row.text
        assert interval_text(found.residual_belief, "points") in row.text


def test_a_row_opens_every_failing_question_with_both_answers(page: Node, audit: Any) -> None:
    result, rows = audit
    answers = {
        (r.model, r.fact_id, r.question): (r.pre_answer, r.post, r.post_answer) for r in rows
    }
    shown = data_of(page)["models"]
    for model, found in zip(result.models, shown, strict=True):
        for fact, opened in zip(model.facts, found["facts"], strict=True):
            questions = [q for mode in opened["modes"] for q in mode["questions"]]
            assert len(questions) == fact.n_failing
            for q in questions:
                key = (model.model.name, fact.fact_id, q["question"])
                assert (q["pre_answer"], q["post"], q["post_answer"]) == answers[key]


def test_without_rows_a_mode_has_its_likeliest_question(tmp_path: Path) -> None:
    result = made_result()
    opened = data_of(written(tmp_path, result))["models"][0]["facts"][0]
    for mode, found in zip(result.models[0].facts[0].modes, opened["modes"], strict=True):
        first, *others = found["questions"]
        assert (first["question"], first["post_answer"]) == (mode.question, mode.post_answer)
        assert {q["question"] for q in others} == set(mode.questions) - {mode.question}
        assert all(q["post_answer"] is None for q in others)


def test_rows_of_another_style_are_not_shown(tmp_path: Path) -> None:
    made = made_audit(1, 3)
    bare = [msgspec.structs.replace(r, style="bare", post_answer="BARE") for r in made.rows]
    root = written(tmp_path, made.result, [*made.rows, *bare])
    assert "BARE" not in json.dumps(data_of(root))


def test_the_page_asks_nothing_of_any_server(page: Node) -> None:
    nodes = page.find()
    sources = [n.attributes.get(key) for n in nodes for key in ("src", "href", "action")]
    assert [s for s in sources if s and not s.startswith(("#", "data:"))] == []
    (style,) = page.find("style")
    assert not re.search(r"@import|url\(", style.text)
    (policy,) = [n for n in page.find("meta") if "http-equiv" in n.attributes]
    content = policy.attributes["content"] or ""
    assert content.startswith("default-src 'none'") and "unsafe" not in content
    # The policy would drop them.
    assert [n for n in nodes if "style" in n.attributes] == []


def test_ids_are_unique_and_links_lead_somewhere(page: Node) -> None:
    ids = [n.attributes["id"] for n in page.find() if "id" in n.attributes]
    assert len(ids) == len(set(ids))
    links = [n.attributes["href"] or "" for n in page.find("a")]
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_missing_numbers_are_no_estimate_with_their_note(tmp_path: Path) -> None:
    missing = Estimate.missing("no estimate: the weights have mean 0.31")
    fact = msgspec.structs.replace(
        made_result().models[0].facts[0], edit_failure=missing, forced=None, modes=()
    )
    result = with_model(
        made_result(), edit_failure=missing, audit_gap=missing, facts=(fact,), discovery=missing
    )
    root = written(tmp_path, result)
    for name in ("edit_failure", "audit_gap", "discovery"):
        (card,) = root.find("article", data_measure=name)
        assert card.find("p", class_="big")[0].text == "no estimate"
        assert card.find("p", class_="change")[0].text == "the weights have mean 0.31"
        assert card.find("circle") == []
    (row,) = root.find("table", class_="edits")[0].find("tr")[1:]
    assert "no estimate" in row.text and "the weights have mean 0.31" in row.text
    (main,) = root.find("main")
    assert "None" not in main.text and "nan" not in main.text.lower().split()


def test_an_audit_that_found_nothing_can_be_shown(tmp_path: Path) -> None:
    missing = Estimate.missing("no estimate: nothing was drawn")
    zeros = tuple((0,) * 5 for _ in range(5))
    weights = WeightCheck(
        mean=float("nan"), standard_error=float("nan"), ess=0, ess_failing=0, n=0, largest_share=0
    )
    result = with_model(
        made_result(),
        facts=(),
        sources=(),
        probes=(),
        gates=(),
        styles=(),
        edit_failure=missing,
        matrix=zeros,
        weighted_matrix=zeros,
        weights=weights,
    )
    write_result(tmp_path / "audit.json", result)
    (main,) = written(tmp_path, read_result(tmp_path / "audit.json")).find("main")
    assert "Nothing was drawn" in main.text
    assert "There are no weights to show." in main.text
    assert "nan" not in main.text.lower().split()


def test_a_small_share_of_the_matrix_is_not_shown_as_none(tmp_path: Path) -> None:
    shares = (*((0.0,) * 5 for _ in range(4)), (0.0001, 0.9999, 0.0, 0.0, 0.0))
    root = written(tmp_path, with_model(made_result(), weighted_matrix=tuple(shares)))
    cells = [c.text for c in root.find("table", class_="matrix")[1].find("td", class_="heat")]
    assert cells[20:22] == ["<0.1", "100.0"]


def test_the_limits_are_on_the_page(page: Node) -> None:
    (limits,) = page.find("section", id="limits")
    assert "natural questions as a small language model asks them (PQ:" in limits.text
    assert "not about the questions of your users" in limits.text


def test_given_questions_are_nowhere_called_natural(tmp_path: Path) -> None:
    """Neither in a card, a heading, a hint of a column, nor among the limits."""
    result = made_result(n_edits=12)
    assert "natural questions" in render(result, tmp_path).lower()
    (source, *_) = result.models[0].sources
    own = with_model(result, sources=(msgspec.structs.replace(source, source=OWN),))
    page = render(own, tmp_path)
    assert "natural questions" not in page.lower()
    assert "Of the given questions that the control answers with the old fact" in page
    assert "The rates are about the given questions, each counted as often as it is given" in page


def test_numbers_of_the_forced_score_are_shown(page: Node, audit: Any) -> None:
    fact = audit[0].models[0].facts[2]
    assert fact.forced == 0.5
    rows = page.find("div", id="model-0")[0].find("tr", data_row="2")
    assert f"forced {number(0.5)} %" in rows[0].text
