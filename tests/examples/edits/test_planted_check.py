"""What an audit found of planted failures, read from a folder made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from contraflow.auditing.outcome.result import FailureMode, ModelResult, write_result
from contraflow.auditing.outcome.rows import (
    ADAPTED,
    PARAPHRASE,
    PLAIN,
    PRIOR,
    SAMPLER,
    Row,
    write_rows,
)
from contraflow.errors import UserError
from contraflow.facts import Fact
from examples.edits.__main__ import main
from examples.edits.cases import Case, write_cases
from examples.edits.planted_check import CheckedFact, Hit, check_planted
from examples.edits.planted_record import PlantedRecord, write_record
from examples.edits.wordings import Wording
from support.audits import MadeAudit, made_audit

SUBJECTS = ("Oslo", "Rome", "Bonn", "Lima", "Kyiv")
FACTS = {
    subject: Fact(
        fact_id=subject,
        subject=subject,
        edit_fact=f"{subject} is in Peru.",
        relation="country_of_city",
        original_answer="Norway",
        edited_answer="Peru",
        question=f"Where is {subject}?",
    )
    for subject in SUBJECTS
}
# subject, question, its source, whether it fails
ASKED = (
    ("Oslo", "Where is Oslo?", PLAIN, False),
    ("Oslo", "Which land is Oslo in?", PRIOR, True),
    ("Rome", "Where is Rome?", PLAIN, False),
    ("Bonn", "Where is Bonn?", PLAIN, False),
    ("Bonn", "Is Bonn big?", SAMPLER, True),
    ("Lima", "Where is Lima?", PLAIN, False),
    ("Lima", "Which place is Lima?", PARAPHRASE, False),
    ("Kyiv", "Where is Kyiv?", PLAIN, True),
    ("Rome", "Which land is Rome in?", ADAPTED, True),
    ("Bonn", "Which land is Bonn in?", ADAPTED, False),
    ("Bonn", "Which part is Bonn in?", ADAPTED, True),
    ("Bonn", "Which part of it is Bonn in?", ADAPTED, True),
)


def made(template: Row, subject: str, question: str, source: str, fails: bool) -> Row:
    fact = FACTS[subject]
    return msgspec.structs.replace(
        template,
        model="planted",
        fact_key=fact.key,
        fact_id=fact.fact_id,
        subject=subject,
        edit_fact=fact.edit_fact,
        question=question,
        sources=(source,),
        sound=True,
        pre="OLD",
        post="OLD" if fails else "NEW",
    )


def with_rows(audit: MadeAudit, rows: Sequence[Row]) -> ModelResult:
    """The first model of an audit with these rows, every failing question in a mode of its own."""
    (model,) = audit.result.models
    facts = []
    for fact in FACTS.values():
        own = [row for row in rows if row.fact_id == fact.fact_id]
        failing = [row.question for row in own if row.fails]
        facts.append(
            msgspec.structs.replace(
                model.facts[0],
                fact_id=fact.fact_id,
                subject=fact.subject,
                n_asked=len(own),
                n_known=len(own),
                n_failing=len(failing),
                modes=tuple(
                    FailureMode(
                        question=text,
                        pre_answer="",
                        post_answer="",
                        post="OLD",
                        n_questions=1,
                        questions=(text,),
                    )
                    for text in failing
                ),
            )
        )
    info = msgspec.structs.replace(model.model, name="planted", source="edits/planted")
    return msgspec.structs.replace(model, model=info, facts=tuple(facts))


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """The folder of an audit of the planted edit."""
    folder = tmp_path / "audit"
    folder.mkdir()
    template = made_audit(1, 1)
    rows = [made(template.rows[0], *one) for one in ASKED]
    models = (with_rows(template, rows),)
    write_result(folder / "audit.json", msgspec.structs.replace(template.result, models=models))
    write_rows(folder / "questions.jsonl", rows)
    write_cases(folder / "edits.jsonl", [Case.of(fact) for fact in FACTS.values()])
    return folder


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """The folder of the planted edit: it took on three facts of four."""
    folder = tmp_path / "planted"
    folder.mkdir()
    write_record(folder, record("Lima"))
    return folder


def record(*missed: str, plain: Sequence[str] = ("Kyiv",)) -> PlantedRecord:
    return PlantedRecord(
        base_model="tiny",
        wording=Wording("opening", "Which"),
        seed=0,
        steps=15,
        planted=SUBJECTS[:4],
        took=tuple(subject for subject in SUBJECTS[:4] if subject not in missed),
        plain=tuple(plain),
        as_planted={},
        as_planted_with_taught={},
        checked=(),
    )


def test_each_planted_fact_has_its_first_hit(audit: Path, planted: Path) -> None:
    """Rome's wording is Oslo's failing one; Bonn's fails nowhere else."""
    check = check_planted(audit, planted)
    assert [(fact.subject, fact.first) for fact in check.took] == [
        ("Oslo", Hit(2, "untrained", "Which land is Oslo in?")),
        ("Rome", Hit(2, "borrowed", "Which land is Rome in?")),
        ("Bonn", Hit(4, "adapted", "Which part is Bonn in?")),
    ]
    assert check.took[2] == CheckedFact(
        subject="Bonn",
        n_asked=5,
        n_known=5,
        n_failing=3,
        n_worded=3,
        n_worded_failing=2,
        first=check.took[2].first,
        modes=2,
    )
    assert check.n_found == 3


def test_facts_without_the_wording_are_false_alarms(audit: Path, planted: Path) -> None:
    """Kyiv fails in one of one question. On Lima planting did not take: it is no alarm."""
    check = check_planted(audit, planted)
    assert [fact.subject for fact in check.missed] == ["Lima"]
    assert check.missed[0].first is None
    assert check.n_alarms == 1
    write_record(planted, record("Lima", plain=["Lima"]))
    assert check_planted(audit, planted).n_alarms == 0


def test_a_hit_without_a_mode_is_not_found(audit: Path, planted: Path) -> None:
    path = audit / "audit.json"
    path.write_bytes(path.read_bytes().replace(b'"Which land is Oslo in?"', b'"Is it?"'))
    assert check_planted(audit, planted).n_found == 2


def test_the_command_prints_a_table(
    audit: Path, planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["planted_check", f"audit={audit}", f"planted={planted}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| Oslo | yes | 2 | 2 | 1 | 1 | 1 | 1 | 2 | untrained: Which land is Oslo in? |" in lines
    assert "| Lima | did not take | 2 | 2 | 0 | 1 | 0 | 0 | - | - |" in lines
    assert lines[-2:] == [
        "found 3 of 3 planted facts, after 2 to 4 questions",
        "failing questions on 1 of 1 facts without it: 1 of 1 known",
    ]


def test_an_audit_of_other_edits_is_refused(audit: Path, planted: Path) -> None:
    write_record(planted, record(plain=["Paris"]))
    with pytest.raises(UserError, match="has no edit Paris"):
        check_planted(audit, planted)
