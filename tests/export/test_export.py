"""The formats of exported questions, and what is refused; every value is worked out by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml

from contraflow.evaluation.records import write_records
from contraflow.export import FORMATS, Selection, Written, select
from contraflow.facts.formats import convert
from contraflow.types import ScoredQuestion
from support.exported import FRANCE, HAMLET, RECORDS, about


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
                        "prompt": "Which city is the capital of France?",
                        "ground_truth": [["Lyon"]],
                    },
                    {
                        "prompt": "Where is the seat of France's government?",
                        "ground_truth": [["Lyon"]],
                    },
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
    assert first["question"] == "Is Lyon in France?"
    assert first["answer"] == "Yes, Lyon is"  # a comma inside
    assert first["log_reward"] == "-0.5"
    assert first["aliases"] == "City of Light"
    assert first["strict_success"] == "false"
    assert rows[1]["strict_success"] == "true"
    assert rows[1]["contradiction"] == "true"  # log C = −0.1 > log ½
    assert last_of_france["log_reward"] == ""  # NaN


def test_csv_cells_are_no_formulas_and_read_back(
    export: Callable[..., int], source: Path, tmp_path: Path
) -> None:
    fact = FRANCE | {
        "subject": "=HYPERLINK(A1)",
        "edit_fact": "+1 is the code of France.",
        "original_answer": "@sum",
        "edited_answer": "-5",
        "aliases": ("-x", "b"),
    }
    write_records(source, [about(fact, "\t=1?", "'-2 is it", -1.25)])
    assert export("out=q.csv") == 0
    with (tmp_path / "q.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["subject"], row["edit_fact"]) == ("'=HYPERLINK(A1)", "'+1 is the code of France.")
    assert (row["original_answer"], row["edited_answer"], row["aliases"]) == (
        "'@sum",
        "-5",
        "'-x;b",
    )
    assert (row["question"], row["answer"], row["log_reward"]) == ("'\t=1?", "''-2 is it", "-1.25")
    (read,) = convert(tmp_path / "q.csv")
    assert (read.subject, read.edit_fact) == (fact["subject"], fact["edit_fact"])
    assert (read.original_answer, read.edited_answer) == ("@sum", "-5")
    assert read.aliases == ("-x", "b")


def test_datasets_is_a_folder_with_rows_and_a_card(
    export: Callable[..., int], tmp_path: Path
) -> None:
    assert export("out=set", "only=strict_success") == 0
    rows = [
        json.loads(line) for line in (tmp_path / "set" / "questions.jsonl").read_text().splitlines()
    ]
    assert [row["question"] for row in rows] == [
        "Which city is the capital of France?",
        "Where is the seat of France's government?",
        "Who wrote Hamlet?",
    ]
    assert rows[1]["log_reward"] is None
    assert rows[0]["aliases"] == ["City of Light"]
    _, header, body = (tmp_path / "set" / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(header)
    assert facts["configs"] == [{"config_name": "default", "data_files": "questions.jsonl"}]
    assert facts["size_categories"] == ["n<1K"]
    assert "3 questions about 2 facts" in body
    assert "edited one): 3\n" in body  # all are strict successes
    columns = {
        name
        for line in body.splitlines()
        if line.startswith("| `")
        for name in line.split("`")[1::2]
    }
    assert columns == set(rows[0]), "the card names every column and no other"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("out=q.txt",), "names no format"),
        (("out=q.csv", "only=strict"), "only=strict: must be of strict_success"),
        (("out=q.json", "only=,"), "only=,: names no check; give some of strict_success"),
        (("out=q.csv", "per_fact=0"), "per_fact=0: must be at least 1"),
        (
            ("out=q.csv", "only=on_topic,contradiction", "format=cvs"),
            "format=cvs: must be one of easyedit, qaedit, csv, datasets",
        ),
        (("out=questions.jsonl", "format=datasets"), "is a file"),
    ],
)
def test_bad_arguments_get_one_line(
    export: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    assert export(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_nothing_left_is_an_error(
    export: Callable[..., int], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(source, [RECORDS[4]])
    assert export("out=eval.json") == 2
    said = capsys.readouterr().err
    assert "none of its 1 questions is left (0 pass strict_success, 1 pass well_formed" in said
    assert not source.with_name("eval.json").exists()


def test_a_fact_without_an_edited_answer_is_no_edit(
    export: Callable[..., int], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(
        source, [about(FRANCE | {"edited_answer": ""}, "Which is its capital?", "Paris", -1.0)]
    )
    assert export("out=eval.json", "only=all") == 2
    assert "no edit to evaluate; fact fr (subject 'France'): the fact has no edited_answer" in (
        capsys.readouterr().err
    )
    assert not source.with_name("eval.json").exists()


PROMPTS = [  # subject, statement, question; prompt and subject as EasyEdit gets them
    ("pizza", "Pizza comes from Lyon.", "From where?", "Pizza comes from", "Pizza"),
    (
        "José Martí",
        "Jose Marti was born in Lyon.",
        "Where?",
        "Jose Marti was born in",
        "Jose Marti",
    ),
    (
        "O'Neil",
        "The city of O\u2019Neil is Lyon.",
        "?",
        "The city of O\u2019Neil is",
        "O\u2019Neil",
    ),
    ("US", "Because of it the us ends in Lyon.", "?", "Because of it the us ends in", "us"),
    ("us", "Us, that is us, live in Lyon.", "?", "Us, that is us, live in", "us"),
    ("pizza", "It comes from Lyon.", "Whence is PIZZA?", "Whence is PIZZA?", "PIZZA"),
    ("pizza", "Lyon made pizza.", "Who made pizza?", "Who made pizza?", "pizza"),
    ("猫", "黒猫は Lyon.", "?", "黒猫は", "猫"),
    ("ﬁg", "The ﬁg of İzmir is Lyon.", "?", "The ﬁg of İzmir is", "ﬁg"),
    ("M\u00e1laga", "Ma\u0301laga is in Lyon.", "?", "Ma\u0301laga is in", "Ma\u0301laga"),
    ("Bogota\u0301", "Bogot\u00e1 is in Lyon.", "?", "Bogot\u00e1 is in", "Bogot\u00e1"),
    ("Weißensee", "Weissensee is in Lyon.", "?", "Weissensee is in", "Weissensee"),
]


@pytest.mark.parametrize(("subject", "statement", "question", "prompt", "as_it_stands"), PROMPTS)
def test_the_subject_is_written_as_in_the_prompt(
    tmp_path: Path, subject: str, statement: str, question: str, prompt: str, as_it_stands: str
) -> None:
    fact = FRANCE | {"subject": subject, "edit_fact": statement}
    chosen = select([about(fact, question, "Paris", -1.0)], Selection())
    assert FORMATS["easyedit"](tmp_path / "e.json", chosen, Selection()) == Written(1)
    (edit,) = json.loads((tmp_path / "e.json").read_text())
    assert (edit["prompt"], edit["subject"]) == (prompt, as_it_stands)
    assert edit["subject"] in edit["prompt"]


def test_every_question_but_the_prompt_is_portability(tmp_path: Path) -> None:
    """The best question does not name the subject, so that the second one is the prompt."""
    texts = ["Who wrote it?", "Who wrote HAMLET?", "Who is the author of Hamlet?"]
    records = [about(HAMLET, text, "Shakespeare", -float(i)) for i, text in enumerate(texts)]
    FORMATS["easyedit"](tmp_path / "e.json", select(records, Selection()), Selection())
    (edit,) = json.loads((tmp_path / "e.json").read_text())
    assert (edit["prompt"], edit["subject"]) == (texts[1], "HAMLET")
    assert edit["rephrase_prompt"] == texts[0]
    assert [row["prompt"] for row in edit["portability"]["Reasoning"]] == [texts[0], texts[2]]


def test_facts_that_are_left_out_are_reported(
    export: Callable[..., int], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nameless = FRANCE | {"fact_id": "x", "subject": "Gallia"}
    open_end = HAMLET | {"fact_id": "y", "edited_answer": ""}
    records = [
        about(fact, "What is its capital?", "Paris", -1.0) for fact in (nameless, open_end, FRANCE)
    ]
    write_records(source, records)
    assert export("out=eval.json", "only=all") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("wrote 1 edits to eval.json (3 of 3 questions")
    assert captured.err.splitlines() == [
        "left out 2 facts:",
        "  fact x (subject 'Gallia'): its subject stands neither in the statement nor in a "
        "question, and EasyEdit requires it in the prompt",
        "  fact y (subject 'Hamlet'): the fact has no edited_answer",
    ]


def test_questions_without_an_original_answer_say_so(
    export: Callable[..., int], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No question could pass the default checks, so fewer of them would not be the remedy."""
    write_records(
        source, [about(FRANCE | {"original_answer": ""}, "Which is its capital?", "Paris", -1.0)]
    )
    assert export("out=eval.json") == 2
    said = capsys.readouterr().err
    assert "none of its 1 questions has an original_answer" in said
    assert said.count("\n") == 1


def test_an_empty_file_of_questions_says_so(
    export: Callable[..., int], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source.write_text("\n")
    assert export("out=eval.json") == 2
    said = capsys.readouterr().err
    assert "is empty; make a file of questions with `contraflow generate`" in said
    assert "checks" not in said


def test_a_line_without_its_scores_is_named_with_the_remedy(
    export: Callable[..., int], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(source, RECORDS[:1])
    line = json.loads(source.read_text()) | {"log_reward": "high"}
    source.write_text(source.read_text() + json.dumps(line) + "\n")
    assert export("out=eval.json") == 2
    said = capsys.readouterr().err
    assert f"{source.name}:2: is not a question with its scores" in said
    assert "`$.log_reward`" in said
    assert "mend this line, or make the file again with `contraflow generate`" in said


def test_an_export_of_a_replay_is_told_from_questions(
    export: Callable[..., int], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored = ScoredQuestion(
        fact_id="f0",
        question_ids=(1, 2),
        question="Who wrote Hamlet?",
        answer="Me.",
        log_contradiction=-1.0,
        log_p_answer=-1.0,
        log_prior=(-1.0, -1.0, -1.0),
    )
    row = msgspec.to_builtins(scored) | {"log_reward": -2.0, "namespace": "n"}
    source.write_bytes(msgspec.json.encode(row) + b"\n")
    assert export("out=eval.json") == 2
    said = capsys.readouterr().err
    assert f"{source.name}:1: is an entry of a replay, from `contraflow replay export`" in said
    assert "`contraflow replay seed` reads this file, and `contraflow generate` makes one" in said
