"""The QAEdit form of an export; expected rows are worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contraflow.cli import main
from contraflow.evaluation.records import QuestionRecord, write_records
from contraflow.facts import default_facts
from contraflow.facts.formats import convert_edits
from support.records import record

FRANCE: dict[str, Any] = {
    "fact_id": "fr",
    "subject": "france",
    "edit_fact": "The capital of France is Lyon.",
    "original_answer": "Paris",
    "edited_answer": "Lyon",
    "relation": "capital_of_country",
}
HAMLET: dict[str, Any] = {
    "fact_id": "ham",
    "subject": "Hamlet",
    "edit_fact": "Hamlet was written by Christopher Marlowe.",
    "original_answer": "William Shakespeare",
    "edited_answer": "Christopher Marlowe",
    "relation": "of my own",
}


def about(fact: dict[str, Any], question: str, log_reward: float) -> QuestionRecord:
    answer = fact["original_answer"]
    return record(**fact, question=question, answer=answer, log_reward=log_reward)


RECORDS = [
    about(FRANCE, "Which city is the seat of France's government?", -1.0),
    about(FRANCE, "What is the capital of France?", -2.0),
    about(HAMLET, "Who wrote Hamlet?", -1.0),
]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "questions.jsonl", RECORDS)
    assert main(["export", "in=questions.jsonl", "out=qa.json", "format=qaedit"]) == 0
    rows: list[dict[str, Any]] = json.loads((tmp_path / "qa.json").read_text())
    return rows


def test_the_best_question_is_the_test(rows: list[dict[str, Any]]) -> None:
    """With one question only, the prompt is the statement up to its answer."""
    assert [{key: row[key] for key in row if key != "locality"} for row in rows] == [
        {
            "subject": "France",  # as it stands in the prompt
            "prompt": "What is the capital of France?",
            "target": "Lyon",
            "rephrase": "Which city is the seat of France's government?",
        },
        {
            "subject": "Hamlet",
            "prompt": "Hamlet was written by",
            "target": "Christopher Marlowe",
            "rephrase": "Who wrote Hamlet?",
        },
    ]


def test_locality_asks_facts_that_no_edit_changes(rows: list[dict[str, Any]]) -> None:
    by_question = {fact.question: fact for fact in default_facts()}
    asked = [[by_question[item["loc"]] for item in row["locality"]] for row in rows]
    for facts, row in zip(asked, rows, strict=True):
        assert [fact.original_answer for fact in facts] == [
            item["loc_ans"] for item in row["locality"]
        ]
    assert [fact.relation for fact in asked[0]] == ["capital_of_country"] * 2
    assert len(asked[1]) == 2, "a relation of one's own gets unrelated facts"
    assert not {"France", "Hamlet"} & {fact.subject for facts in asked for fact in facts}


def test_our_own_reader_reads_the_edits_back(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    france, hamlet = convert_edits(tmp_path / "qa.json")
    assert france.fact.edited_answer == "Lyon"
    assert france.paraphrases == (rows[0]["rephrase"],)
    assert hamlet.fact.edit_fact == HAMLET["edit_fact"]
    assert [(p.prompt, p.answers) for p in hamlet.locality] == [
        (item["loc"], (item["loc_ans"],)) for item in rows[1]["locality"]
    ]


def test_a_fact_without_a_prompt_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = FRANCE | {"edit_fact": "It is Lyon.", "fact_id": "no"}
    records = [RECORDS[2], about(nowhere, "Which is its capital?", -1.0)]
    write_records(tmp_path / "q.jsonl", records)
    words = [f"in={tmp_path / 'q.jsonl'}", f"out={tmp_path / 'qa.json'}", "only=all"]
    assert main(["export", *words, "format=qaedit"]) == 0
    printed = capsys.readouterr()
    assert "wrote 1 edits" in printed.out
    assert "fact no (subject 'france'): its subject stands neither" in printed.err
