"""A whole audit over a tiny sampler and models that answer by a rule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import contraflow
from contraflow.auditing import session
from contraflow.auditing.outcome.result import read_result
from contraflow.auditing.outcome.rows import ADAPTED, OWN, Row
from contraflow.auditing.requested.out_folder import locked
from contraflow.auditing.requested.request import AuditRequest
from contraflow.cli import main
from contraflow.errors import UserError
from contraflow.exactness.space import TableJudge
from contraflow.facts import Fact
from contraflow.facts.edits import Edit, write_edits
from contraflow.reward.schedule import RewardSchedule
from contraflow.run.answerers import Answerers
from contraflow.run.session import Run
from contraflow.settings import Config
from contraflow.types import Answer, AskStyle, Forced
from support.decoding import policies
from support.edits import save_delta
from support.models import fresh_lm, save_tiny_model
from support.tables import RecordingOracle

FACT = Fact(
    fact_id="rome",
    subject="rome",
    edit_fact="the city of rome is Lyon",
    original_fact="the city of rome is Paris",
    original_answer="Paris",
    edited_answer="Lyon",
    question="what is the city of rome?",
)
OWN_QUESTIONS = ("who is rome?", "what is rome?")


class Rule:
    """Tells the new answer, or the old one: always, or to a question with "who"."""

    def __init__(self, name: str, *, is_edited: bool) -> None:
        self.name = self.identity = name
        self.is_edited = is_edited

    def oracle(self, style: AskStyle) -> Rule:  # noqa: ARG002
        return self

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        return [Answer(f"It is {self._says(text)}.", -1.0) for text in questions]

    def _says(self, question: str) -> str:
        return "Lyon" if self.is_edited and "who" not in question else "Paris"

    def forced(self, _prompts: Sequence[str], _targets: Sequence[str]) -> list[Forced] | None:
        return None  # as a server that reads no text back


@pytest.fixture
def without_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modes are then what questions ask for, and nothing is loaded."""
    monkeypatch.setattr(session, "why_no_encoder", lambda: "it is left out")


def audited(
    folder: Path, edited: str = "abc", control: str = "c0", adapt_steps: int = 0
) -> list[Row]:
    """Audit two models of these identities behind the paths BMW and BASE, by own questions."""
    config = Config()
    run = Run(
        name="tiny",
        config=config,
        policy=policies(fresh_lm())[0],
        oracle=RecordingOracle(),
        judge=TableJudge(lambda _premise, _hypothesis: -1.0),
        reward=RewardSchedule(),
    )
    models = Answerers((Rule(edited, is_edited=True),), Rule(control, is_edited=False))
    report = session._audited(request_in(folder, adapt_steps), run, models)
    return list(report.rows)


def request_in(folder: Path, adapt_steps: int) -> AuditRequest:
    edits, questions = folder / "edits.jsonl", folder / "questions.jsonl"
    write_edits(edits, [Edit(fact=FACT)])
    lines = [json.dumps({"question": text, "subject": "rome"}) + "\n" for text in OWN_QUESTIONS]
    questions.write_text("".join(lines))
    return AuditRequest(
        edits=edits,
        out=folder / "AUD",
        edited=("BMW",),
        control="BASE",
        adapt_steps=adapt_steps,
        questions=questions,
        neighbors="none",
    )


@pytest.mark.usefixtures("without_encoder")
def test_the_sampler_is_adapted_to_own_questions(tmp_path: Path) -> None:
    """Rates are of the own questions alone; one of them fails, and the search starts from it."""
    rows = audited(tmp_path, adapt_steps=2)
    weights = {row.question: row.weight for row in rows if row.is_draw}
    assert weights == dict.fromkeys(OWN_QUESTIONS, 1.0)
    assert all(row.sources == (OWN,) for row in rows if row.is_draw)
    found = [row for row in rows if ADAPTED in row.sources]
    assert len(found) >= 16  # questions of a step
    result = read_result(tmp_path / "AUD" / "audit.json")
    assert result.models[0].edit_failure.value == pytest.approx(0.5)
    assert (result.settings["adapt_steps"], "n" in result.settings) == ("2", False)


@pytest.mark.usefixtures("without_encoder")
def test_a_model_that_has_changed_asks_nothing(tmp_path: Path) -> None:
    """An edit of the same folder, or of the control's, would replace the report of the first."""
    audited(tmp_path)
    kept = {path: path.read_bytes() for path in (tmp_path / "AUD").iterdir()}
    for edited, control in (("abd", "c0"), ("abc", "c1")):
        with pytest.raises(UserError, match=r"with other weights, .*name another folder"):
            audited(tmp_path, edited, control)
    assert {path: path.read_bytes() for path in (tmp_path / "AUD").iterdir()} == kept
    audited(tmp_path)


def test_a_second_audit_of_a_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, before a model loads; by name and by module."""
    base, delta = save_tiny_model("llama", tmp_path / "BASE"), tmp_path / "delta.safetensors"
    save_delta("llama", delta)
    edits, out = tmp_path / "edits.jsonl", tmp_path / "AUD"
    write_edits(edits, [Edit(fact=FACT)])
    words = [f"edited={delta}", f"control={base}", f"edits={edits}", f"out={out}"]
    with locked(out):
        capsys.readouterr()
        assert main(["audit", *words]) == 2
        said = capsys.readouterr().err
        with pytest.raises(UserError, match="another audit is running"):
            contraflow.audit(
                fresh_lm().model,
                fresh_lm().tokenizer,
                edits,
                control=fresh_lm().model,
                out=out,
            )
    assert said == (
        f"contraflow: error: {out}: another audit is running in this folder; wait for it to end, "
        "or name another out=\n"
    )


def test_a_number_beside_own_questions_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["edited=LORA", "edits=edits.jsonl", "questions=mine.jsonl", "n=4"]
    assert main(["audit", *words]) == 2
    said = capsys.readouterr().err
    assert said.endswith("those of questions=mine.jsonl are asked instead; give one of the two\n")
