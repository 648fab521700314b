"""Which questions of an audit are exported, in which order and format; values are set by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contraflow.auditing.exporting.formats import export_audit
from contraflow.auditing.exporting.selection import AuditSelection, choose
from contraflow.auditing.outcome.finished import FinishedAudit, is_audit, read_audit
from contraflow.auditing.outcome.result import AuditResult, FailureMode, write_result
from contraflow.auditing.outcome.rows import Row, write_rows
from contraflow.cli import main
from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.edits import Edit, Probe, read_edits, write_edits
from support.audit_rows import made_fact
from support.audits import made_result

HAMLET, NORWAY = range(2)
LIKELY = "Who wrote Hamlet?"
RARE = "Which poet gave us Hamlet?"
SEARCHED = "Whose play is Hamlet?"


def edit(number: int, original_answer: str) -> Edit:
    subject, _, new, stem = made_fact(number)
    return Edit(
        fact=Fact(
            fact_id=f"fact-{number}",
            subject=subject,
            edit_fact=f"{stem} {new}.",
            original_answer=original_answer,
            edited_answer=new,
        ),
        prompt=stem,
        paraphrases=("an old one",),
        locality=(Probe(kind="locality", prompt="Who wrote Faust?", answers=("Goethe",)),),
    )


def row(question: str, post: str, number: int = HAMLET, **changes: Any) -> Row:
    subject, old, new, stem = made_fact(number)
    fields: dict[str, Any] = {
        "model": "rome",
        "fact_key": f"key-{number}",
        "fact_id": f"fact-{number}",
        "subject": subject,
        "edit_fact": f"{stem} {new}.",
        "question": question,
        "sources": ("untrained",),
        "style": "few_shot",
        "sound": True,
        "weight": 1.0,
        "log_p_prior": -5.0,
        "log_pf": -4.0,
        "pre": "OLD",
        "post": post,
        "pre_answer": old,
        "post_answer": {"OLD": old, "NEW": new}.get(post, "nobody"),
    }
    return Row(**fields | changes)


ROWS = (
    row(RARE, "OTHER", log_p_prior=-9.0),
    row(LIKELY, "OLD"),
    row("who wrote hamlet", "OLD", style="bare", log_p_prior=-6.0),
    row(SEARCHED, "OTHER", log_p_prior=None, weight=0.0, sources=("adapted",)),
    row("Who is the author of Hamlet?", "NEW"),
    row("What is a play of Marlowe?", "OLD", sound=False),
    row("Who acted in Hamlet?", "OTHER", pre="OTHER"),
    row("What is the capital of Norway?", "NEW", NORWAY),
    row("What is the capital of Norway?", "OLD", NORWAY, model="lora"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An audit of two models; the original answer about Norway is the control's."""
    write_result(tmp_path / "audit.json", result())
    write_rows(tmp_path / "questions.jsonl", ROWS)
    write_edits(tmp_path / "edits.jsonl", [edit(HAMLET, "William Shakespeare"), edit(NORWAY, "")])
    return tmp_path


def result() -> AuditResult:
    made = made_result(n_models=2, n_edits=2)
    modes = (mode(RARE), mode(LIKELY))
    first = made.models[0]
    facts = (
        msgspec.structs.replace(first.facts[HAMLET], modes=modes),
        msgspec.structs.replace(first.facts[NORWAY], modes=()),
    )
    return msgspec.structs.replace(
        made, models=(msgspec.structs.replace(first, facts=facts), made.models[1])
    )


def mode(question: str) -> FailureMode:
    return FailureMode(question=question, pre_answer="", post_answer="", post="OLD", n_questions=1)


def questions(audit: FinishedAudit, **selection: Any) -> list[list[str]]:
    chosen = choose(audit, AuditSelection(**selection))
    return [[row.question for row in of_edit.rows] for of_edit in chosen]


def test_failing_questions_come_one_of_each_mode_first(folder: Path) -> None:
    """Both firsts of modes by likelihood, then the one that only the search found."""
    assert questions(read_audit(folder)) == [
        [LIKELY, RARE, SEARCHED],
        ["What is the capital of Norway?"],
    ]
    assert questions(read_audit(folder), per_fact=1) == [
        [LIKELY],
        ["What is the capital of Norway?"],
    ]


def test_one_model_and_other_checks_select_other_questions(folder: Path) -> None:
    audit = read_audit(folder)
    assert questions(audit, edited="rome") == [[LIKELY, RARE, SEARCHED]]
    assert questions(audit, edited="lora") == [["What is the capital of Norway?"]]
    assert questions(audit, only=("residual",), edited="rome") == [[LIKELY]]
    assert questions(audit, only=("failing", "drawn"), edited="rome") == [[LIKELY, RARE]]
    assert len(questions(audit, only=(), distinct=False)[0]) == 7


def test_the_next_editor_gets_the_failing_questions_as_paraphrases(folder: Path) -> None:
    out = folder / "failing.jsonl"
    written = export_audit(read_audit(folder), out, "edits", AuditSelection())
    hamlet, norway = read_edits(out).edits
    assert written.n_rows == 2
    assert hamlet.paraphrases == (LIKELY, RARE, SEARCHED)
    assert hamlet.prompt == made_fact(HAMLET)[3]
    assert hamlet.locality == edit(HAMLET, "").locality
    # The answer that the control gave counts as the original one from now on.
    assert norway.fact.original_answer == "Oslo"


def test_easyedit_gets_the_new_answer_for_every_question(folder: Path) -> None:
    out = folder / "eval.json"
    export_audit(read_audit(folder), out, "easyedit", AuditSelection(edited="rome"))
    (found,) = json.loads(out.read_text())
    prompts = [test["prompt"] for test in found["portability"]["Reasoning"]]
    assert prompts == [LIKELY, RARE, SEARCHED]
    assert found["target_new"] == "Christopher Marlowe"
    assert found["subject"] in found["prompt"]
    kept = [{"prompt": "Who wrote Faust?", "ground_truth": [["Goethe"]]}]
    assert found["locality"] == {"Relation_Specificity": kept}


@pytest.mark.parametrize("format_name", ["easyedit", "qaedit"])
def test_the_edits_own_prompt_is_taught_and_no_failing_question(
    folder: Path, format_name: str
) -> None:
    """Its statement does not end with the new answer; a failing question took its place."""
    mine = edit(HAMLET, "William Shakespeare")
    fact = msgspec.structs.replace(mine.fact, edit_fact="Christopher Marlowe wrote Hamlet.")
    mine = msgspec.structs.replace(mine, fact=fact, prompt="Who is Hamlet by?")
    write_edits(folder / "edits.jsonl", [mine, edit(NORWAY, "")])
    rows = [row(LIKELY, "OLD", edit_fact=fact.edit_fact)]
    write_rows(folder / "questions.jsonl", rows)
    out = folder / "eval.json"
    export_audit(read_audit(folder), out, format_name, AuditSelection(edited="rome"))
    (found,) = json.loads(out.read_text())
    assert found["prompt"] == "Who is Hamlet by?"
    tests = found.get("rephrase") or found["portability"]["Reasoning"][0]["prompt"]
    assert tests == LIKELY


def test_a_table_has_a_row_per_model_and_style(folder: Path) -> None:
    """The question in other letters is one of another style; both answers are there."""
    out = folder / "failing.csv"
    export_audit(read_audit(folder), out, "csv", AuditSelection())
    rows = list(csv.DictReader(out.open()))
    assert [(r["model"], r["style"], r["question"]) for r in rows] == [
        ("rome", "few_shot", LIKELY),
        ("rome", "few_shot", RARE),
        ("rome", "bare", "who wrote hamlet"),
        ("rome", "few_shot", SEARCHED),
        ("lora", "few_shot", "What is the capital of Norway?"),
    ]
    assert rows[0]["pre_answer"] == rows[0]["post_answer"] == "William Shakespeare"
    assert [r["is_residual"] for r in rows] == ["true", "false", "true", "false", "true"]
    assert rows[3]["log_p_prior"] == ""


def test_so_many_questions_of_an_edit_are_in_a_table_with_all_their_rows(folder: Path) -> None:
    """Two of the first edit's three questions, the first of them in two styles."""
    out = folder / "failing.csv"
    export_audit(read_audit(folder), out, "csv", AuditSelection(per_fact=2))
    rows = [(row["style"], row["question"]) for row in csv.DictReader(out.open())]
    assert rows == [
        ("few_shot", LIKELY),
        ("few_shot", RARE),
        ("bare", "who wrote hamlet"),
        ("few_shot", "What is the capital of Norway?"),
    ]


def test_the_command_takes_the_folder_or_a_file_of_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in (folder, folder / "audit.json", folder / "questions.jsonl"):
        assert is_audit(source)
        assert main(["export", f"in={source}", f"out={folder / 'x.jsonl'}"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("wrote 2 edits with their questions") == 3
    assert main(["export", f"in={folder}", f"out={folder / 'q.json'}", "format=qaedit"]) == 0
    assert json.loads((folder / "q.json").read_text())[0]["rephrase"] == LIKELY


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["out=x.jsonl", "edited=rom"],
            "edited=rom: the audit has rome, lora (did you mean",
        ),
        (["out=x.jsonl", "only=failed"], "only=failed: must be of failing, residual, known, sound"),
        (["out=x.jsonl", "only=residual,failing", "edited=nobody"], "edited=nobody: the audit has"),
        (["out=x"], "no suffix names no format of an audit; end it in .jsonl (edits)"),
        (["out=x", "format=datasets"], "format=datasets: must be one of edits, easyedit, qaedit"),
    ],
)
def test_bad_words_are_refused_in_one_line(
    words: list[str],
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert main(["export", f"in={folder}", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_an_audit_says_what_to_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", f"in={tmp_path}", "out=x.csv"]) == 2
    assert "is a folder without an audit.json" in capsys.readouterr().err


def test_an_unknown_format_in_python_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"format=edit: must be one of .*did you mean edits\?"):
        export_audit(read_audit(folder), folder / "x", "edit", AuditSelection())


def test_an_audit_without_failures_says_so(folder: Path) -> None:
    write_rows(folder / "questions.jsonl", [row(LIKELY, "NEW")])
    with pytest.raises(UserError, match="none of its 1 rows is left"):
        export_audit(read_audit(folder), folder / "x.jsonl", "edits", AuditSelection())


def test_rows_of_something_else_are_refused_by_line(folder: Path) -> None:
    (folder / "questions.jsonl").write_text('{"question": "Who?"}\n')
    with pytest.raises(UserError, match=r"questions\.jsonl:1: is not what this version's"):
        read_audit(folder)


def test_an_older_audit_is_read_with_the_edits_that_it_names(folder: Path) -> None:
    (folder / "edits.jsonl").rename(folder / "mine.jsonl")
    with pytest.raises(UserError, match=r"has no edits\.jsonl, and edits/dozen\.jsonl is not"):
        read_audit(folder)
    named = msgspec.structs.replace(result(), edits=str(folder / "mine.jsonl"))
    write_result(folder / "audit.json", named)
    assert len(read_audit(folder).edits) == 2


def test_a_report_does_not_export_over_its_audit(folder: Path) -> None:
    from contraflow.auditing.session import AuditReport  # it imports the models

    report = AuditReport(result(), ROWS, folder)
    before = (folder / "edits.jsonl").read_bytes()
    with pytest.raises(UserError, match=rf"out={folder}/edits.jsonl: is a file of an audit"):
        report.export(folder / "edits.jsonl")
    assert (folder / "edits.jsonl").read_bytes() == before
    assert report.export(folder / "failing.jsonl").n_rows == 2
