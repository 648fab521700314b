"""What a facts file leaves out, and a file that is none: notes, and a single problem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact, read_facts, split_facts
from contraflow.facts.check import check_facts
from contraflow.facts.notes import notes

HAMLET = {
    "subject": "Hamlet",
    "edit_fact": "Hamlet was written by Christopher Marlowe.",
}
FULL = Fact(
    fact_id="1",
    subject="Hamlet",
    edit_fact="Hamlet was written by Christopher Marlowe.",
    original_fact="Hamlet was written by William Shakespeare.",
    original_answer="William Shakespeare",
    edited_answer="Christopher Marlowe",
)


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_recommended_fields_may_be_missing(tmp_path: Path) -> None:
    """As docs/data.md says; `contraflow generate` needs the required ones only."""
    assert check_facts(written(tmp_path / "f.jsonl", HAMLET)) == []


@pytest.mark.parametrize(
    ("field", "use"),
    [
        ("original_answer", "filter-known"),
        ("original_fact", "log_entailment"),
        ("edited_answer", "strict success"),
    ],
)
def test_a_note_says_what_a_missing_field_is_for(field: str, use: str) -> None:
    found = notes([FULL, msgspec.structs.replace(FULL, fact_id="2", **{field: ""})])
    (note,) = [line for line in found if "recommended" in line]
    assert note.startswith(f"1 of 2 facts has no {field} (recommended): ") and use in note


def test_relation_and_question_are_optional() -> None:
    assert not [line for line in notes([FULL]) if "recommended" in line]


def test_a_note_says_that_no_fact_is_for_training() -> None:
    facts = [msgspec.structs.replace(FULL, fact_id=str(i), subject=f"Land {i}") for i in range(200)]
    parts = split_facts(facts)
    (note,) = notes(parts.test[:3])
    assert "makes all 3 facts test facts, so there are no training facts" in note
    assert notes([*parts.train[:1], *parts.validation[:1], *parts.test[:1]]) == []


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_is_one_problem(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "ee.json"
    path.write_text(json.dumps([{**HAMLET, "fact_id": str(i)} for i in range(30)], indent=indent))
    message = (
        f"{path}:1: is a JSON array, but a facts file has one JSON object per line; convert it: "
        f"contraflow data convert in={path} out={tmp_path / 'ee.jsonl'}"
    )
    (problem,) = check_facts(path)
    assert str(problem) == message
    with pytest.raises(UserError) as caught:
        read_facts(path)
    assert str(caught.value) == message


def test_a_table_is_one_problem_with_its_first_reason(tmp_path: Path) -> None:
    path = tmp_path / "edits.csv"
    path.write_text("".join(f"Land {i},Land {i} is flat.\n" for i in range(30)))
    (problem,) = check_facts(path)
    assert "none of the 30 lines is a fact (line 1: is not valid JSON" in str(problem)
    assert f"contraflow data convert in={path} out={tmp_path / 'edits.jsonl'}" in str(problem)


def test_an_array_under_the_name_of_lines_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ee.jsonl"
    path.write_text(json.dumps([HAMLET]))
    (problem,) = check_facts(path)
    assert str(problem).endswith(f"in={path} out={tmp_path / 'ee_lines.jsonl'}")


def test_a_few_bad_lines_are_named_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("nope\n[1]\nnope\n")
    assert [problem.line for problem in check_facts(path)] == [1, 2, 3]
