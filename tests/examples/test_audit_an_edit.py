"""The worked example: a real edit, its audit, and its failing questions as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from contraflow.facts.edits import read_edits
from contraflow.models.weights.packaged import is_prepared
from examples.audit_an_edit import edits, lessons_of, main


def test_bad_words_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["n=0"]) == 2
    error = capsys.readouterr().err
    assert error.endswith("n=0: must be at least 2\n")
    assert error.count("\n") == 1


def test_an_editor_learns_the_prompt_and_the_questions() -> None:
    (france, _) = edits()
    assert lessons_of(edits()) == [
        ("The capital of France is", "Madrid"),
        ("Hamlet was written by", "Charles Dickens"),
    ]
    failing = type(france)(fact=france.fact, prompt=france.prompt, paraphrases=("What is it?",))
    assert lessons_of([failing])[1:] == [("Question: What is it?\nAnswer:", "Madrid")]


@pytest.mark.slow
@pytest.mark.skipif(
    not is_prepared("smollm2-135m-instruct"), reason="packaged models are not prepared"
)
def test_it_edits_audits_and_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "example"
    assert main([f"out={out}", "n=4", "neighbors=none"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("edited: of natural questions")
    result = json.loads((out / "audit.json").read_text())["models"][0]
    assert result["asked_forced"]["value"] > 0.9  # the editor did its work
    rows = list(csv.DictReader((out / "failing.csv").open()))
    assert len(rows) == sum(fact["n_failing"] for fact in result["facts"]) > 0
    assert all(row["pre"] == "OLD" != row["post"] for row in rows if row["is_residual"] == "false")
    taught = read_edits(out / "failing.jsonl").edits
    asked = {text for edit in taught for text in (edit.prompt, *edit.paraphrases)}
    assert {row["question"] for row in rows} <= asked
    first = json.loads((out / "easyedit.json").read_text())[0]
    assert first["target_new"] in ("Madrid", "Charles Dickens")
