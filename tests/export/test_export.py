"""Which questions are exported, in which order and format; every value is worked out by hand."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from contraflow.evaluation.records import QuestionRecord, write_records
from contraflow.export import Selection, select
from contraflow.facts.formats import convert
from support.records import record

FRANCE: dict[str, Any] = {
    "fact_id": "fr",
    "subject": "France",
    "edit_fact": "The capital of France is Lyon.",
    "original_answer": "Paris",
    "edited_answer": "Lyon",
    "aliases": ("City of Light",),
    "relation": "capital",
}
HAMLET: dict[str, Any] = {
    "fact_id": "ham",
    "subject": "Hamlet",
    "edit_fact": "Marlowe wrote Hamlet.",
    "original_answer": "Shakespeare",
    "edited_answer": "Marlowe",
}


def about(fact: dict[str, Any], question: str, answer: str, log_reward: float) -> QuestionRecord:
    """Return a record about a fact; its log C is −0.1, which is above log ½."""
    return record(**fact, question=question, answer=answer, log_reward=log_reward)


RECORDS = [
    about(FRANCE, "What is the capital of France?", "Paris", -3.0),
    about(HAMLET, "Who wrote Hamlet?", "Shakespeare", -2.0),
    about(FRANCE, "Which city is the capital of France?", "Paris.", -1.0),
    # the first again, with a better reward
    about(FRANCE, "what is the capital of france", "Paris", -2.0),
    # names the edited answer
    about(FRANCE, "Is Lyon in France?", "Yes, Lyon is", -0.5),
    about(FRANCE, "Where is the seat of France's government?", "Paris", math.nan),
]


def questions(**settings: Any) -> list[str]:
    return [chosen.record.question for chosen in select(RECORDS, Selection(**settings))]


def test_facts_keep_their_order_and_the_best_comes_first() -> None:
    assert questions() == [
        "Is Lyon in France?",
        "Which city is the capital of France?",
        "what is the capital of france",
        "Where is the seat of France's government?",  # a reward that is no number is the worst
        "Who wrote Hamlet?",
    ]


def test_repeats_stay_where_they_are_asked_for() -> None:
    assert questions(distinct=False).count("What is the capital of France?") == 1
    assert len(questions(distinct=False)) == len(RECORDS)


def test_checks_come_before_the_number_a_fact() -> None:
    """The best question is no strict success, so with one per fact the next best is kept."""
    assert questions(only=("strict_success",), per_fact=1) == [
        "Which city is the capital of France?",
        "Who wrote Hamlet?",
    ]
    assert questions(per_fact=2) == [
        "Is Lyon in France?",
        "Which city is the capital of France?",
        "Who wrote Hamlet?",
    ]
    assert questions(only=("strict_success", "well_formed"), distinct=True)[1:] == [
        "Where is the seat of France's government?",
        "Who wrote Hamlet?",
    ]  # the question without a capital and a question mark is not well formed


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_records(tmp_path / "questions.jsonl", RECORDS)
    return tmp_path / "questions.jsonl"


@pytest.fixture
def export(source: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    from contraflow.cli import main

    monkeypatch.chdir(source.parent)
    return lambda *words: main(["export", "in=questions.jsonl", *words])


def test_easyedit_asks_an_edited_model_for_the_edited_answer(
    export: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("out=eval.json", "per_fact=2") == 0
    assert capsys.readouterr().out == (
        "wrote 2 edits to eval.json (3 of 6 questions: only those with strict_success and "
        "well_formed and on_subject "
        "and no_leak, each once a fact, at most 2 a fact, by log_reward)\n"
    )
    assert json.loads((tmp_path / "eval.json").read_text()) == [
        {
            "case_id": 0,
            "subject": "France",
            "prompt": "The capital of France is",
            "target_new": "Lyon",
            "ground_truth": ["Paris", "City of Light"],
            "rephrase_prompt": "Which city is the capital of France?",
            "portability": {
                "Reasoning": [
                    {
                        "prompt": "Where is the seat of France's government?",
                        "ground_truth": [["Lyon"]],
                    }
                ]
            },
            "locality": {},
        },
        {
            "case_id": 1,
            "subject": "Hamlet",
            "prompt": "Who wrote Hamlet?",  # "Marlowe wrote Hamlet." cannot be left open at its end
            "target_new": "Marlowe",
            "ground_truth": ["Shakespeare"],
            "rephrase_prompt": "Who wrote Hamlet?",
            "portability": {},
            "locality": {},
        },
    ]


def test_our_own_converter_reads_the_edits_back(export: Callable[..., int], tmp_path: Path) -> None:
    export("out=eval.json")
    france, hamlet = convert(tmp_path / "eval.json")
    for fact, of in ((france, FRANCE), (hamlet, HAMLET)):
        assert (fact.subject, fact.edit_fact, fact.original_answer, fact.edited_answer) == (
            of["subject"],
            of["edit_fact"],
            of["original_answer"],
            of["edited_answer"],
        )
    assert france.aliases == ("City of Light",)


def test_csv_has_every_number_and_every_check(export: Callable[..., int], tmp_path: Path) -> None:
    assert export("out=q.csv") == 0
    with (tmp_path / "q.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    first, last_of_france = rows[0], rows[3]
    assert (first["question"], first["answer"]) == (
        "Is Lyon in France?",
        "Yes, Lyon is",
    )  # a comma inside
    assert (first["log_reward"], first["aliases"], first["strict_success"]) == (
        "-0.5",
        "City of Light",
        "false",
    )
    assert (rows[1]["strict_success"], rows[1]["contradiction"]) == (
        "true",
        "true",
    )  # log C = −0.1 > log ½
    assert last_of_france["log_reward"] == ""  # no number


def test_datasets_is_a_folder_with_rows_and_a_card(
    export: Callable[..., int], tmp_path: Path
) -> None:
    assert export("out=set", "only=strict_success") == 0
    rows = [
        json.loads(line) for line in (tmp_path / "set" / "questions.jsonl").read_text().splitlines()
    ]
    assert [row["question"] for row in rows] == [
        "Which city is the capital of France?",
        "what is the capital of france",
        "Where is the seat of France's government?",
        "Who wrote Hamlet?",
    ]
    assert rows[2]["log_reward"] is None
    assert rows[0]["aliases"] == ["City of Light"]
    _, header, body = (tmp_path / "set" / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(header)
    assert facts["configs"] == [{"config_name": "default", "data_files": "questions.jsonl"}]
    assert facts["size_categories"] == ["n<1K"]
    assert "4 questions about 2 facts" in body
    assert "edited one): 4\n" in body  # all are strict successes
    columns = {
        name
        for line in body.splitlines()
        if line.startswith("| `")
        for name in line.split("`")[1::2]
    }
    assert columns == set(rows[0]), "the card names every column and no other"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("out=q.txt",), "names no format"),
        (("out=q.csv", "only=strict"), "only=strict: must be of strict_success"),
        (("out=q.csv", "per_fact=0"), "per_fact=0: must be at least 1"),
        (
            ("out=q.csv", "only=on_topic,contradiction", "format=cvs"),
            "format=cvs: must be one of easyedit, csv, datasets",
        ),
        (("out=questions.jsonl", "format=datasets"), "is a file"),
    ],
)
def test_bad_arguments_get_one_line(
    export: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    assert export(*words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_nothing_left_is_an_error_that_says_so(
    export: Callable[..., int], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(source, [RECORDS[4]])
    assert export("out=eval.json") == 2
    assert "none of its 1 questions is left" in capsys.readouterr().err
    assert not source.with_name("eval.json").exists()


def test_a_fact_without_an_edited_answer_is_no_edit(
    export: Callable[..., int], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(
        source, [about(FRANCE | {"edited_answer": ""}, "Which is its capital?", "Paris", -1.0)]
    )
    assert export("out=eval.json", "only=all") == 2
    assert "no fact has an edited_answer" in capsys.readouterr().err
