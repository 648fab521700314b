"""Texts of files and models in the report of an audit: shown as they are, and harmless."""

from __future__ import annotations

from pathlib import Path

import msgspec

from contraflow.auditing.outcome.result import AuditResult
from contraflow.auditing.outcome.rows import Row
from support.audits import made_audit
from support.audits_page import data_of, written
from support.html_tree import Node
from support.run_folder import HOSTILE

RTL = "\u202eevil \u05d0\u05d1\u05d2"


def hostile_audit() -> tuple[AuditResult, list[Row]]:
    """An audit in which every text is an attack or turns the line round."""
    made = made_audit(1, 3)
    result = made.result
    model = result.models[0]
    facts = tuple(
        msgspec.structs.replace(
            fact,
            subject=HOSTILE,
            edit_fact=RTL + HOSTILE,
            original_answer=HOSTILE,
            edited_answer=RTL,
            asked_answer=HOSTILE,
            modes=tuple(
                msgspec.structs.replace(
                    mode, question=HOSTILE, questions=(HOSTILE,), post_answer=RTL + HOSTILE
                )
                for mode in fact.modes
            ),
        )
        for fact in model.facts
    )
    probes = tuple(
        msgspec.structs.replace(p, kind=f"locality/{HOSTILE}", lost=((HOSTILE, RTL, HOSTILE),))
        for p in model.probes
    )
    gates = tuple(msgspec.structs.replace(g, passed=False, detail=HOSTILE) for g in model.gates)
    info = msgspec.structs.replace(model.model, name=HOSTILE, source=HOSTILE)
    model = msgspec.structs.replace(
        model, facts=facts, probes=probes, gates=gates, model=info, warnings=(HOSTILE,)
    )
    settings = {"questions": HOSTILE, HOSTILE: "'\""}
    result = msgspec.structs.replace(
        result, models=(model,), notes=(HOSTILE,), settings=settings, edits=HOSTILE
    )
    rows = [msgspec.structs.replace(row, question=HOSTILE, model=HOSTILE) for row in made.rows]
    return result, rows


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    root = written(tmp_path, *hostile_audit())
    assert root.find("img") == []
    assert len(root.find("script")) == 2
    (masthead,) = root.find("header")
    assert HOSTILE in masthead.text
    first = root.find("table", class_="edits")[0].find("tr")[1]
    assert first.attributes["data-subject"] == HOSTILE
    questions = data_of(root)["models"][0]["facts"][0]["modes"][0]["questions"]
    assert questions[0]["question"] == HOSTILE
    assert questions[0]["post_answer"] == RTL + HOSTILE


def test_every_text_of_data_is_isolated_in_direction(tmp_path: Path) -> None:
    root = written(tmp_path, *hostile_audit())
    (body,) = root.find("main")

    def bare(node: Node) -> list[str]:
        if node.name == "bdi":
            return []
        inside = [text for piece in node.pieces for text in _texts(piece, bare)]
        return [text for text in inside if "\u202e" in text]

    def _texts(piece: str | Node, walk: Any) -> list[str]:
        return [piece] if isinstance(piece, str) else walk(piece)

    assert "\u202e" in body.text
    assert bare(body) == []
