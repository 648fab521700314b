"""An audit whose judge the caller gives: its scores are in the rows, and the report names it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import contraflow
from contraflow.auditing import session
from contraflow.facts import Fact
from contraflow.facts.edits import Edit
from contraflow.run import build
from contraflow.run.modules import AnswererPair
from contraflow.types import Answer, AskStyle, Forced
from support.models import fresh_lm
from support.own_objects import LOG_HALF, Half
from support.runs import tiny_config, use_tiny_parts

FACT = Fact(
    fact_id="rome",
    subject="rome",
    edit_fact="the city of rome is Lyon",
    original_fact="the city of rome is Paris",
    original_answer="Paris",
    edited_answer="Lyon",
    question="what is the city of rome?",
)
QUESTIONS = ("what is rome?", "who is rome?")


class Says:
    """Answers every question with one word."""

    def __init__(self, word: str) -> None:
        self.name = self.identity = self.word = word

    def oracle(self, style: AskStyle) -> Says:  # noqa: ARG002
        return self

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        return [Answer(f"It is {self.word}.", -1.0) for _ in questions]

    def forced(self, _prompts: Sequence[str], _targets: Sequence[str]) -> list[Forced] | None:
        return None

    def close(self) -> None:
        """There is nothing to close."""


@pytest.mark.filterwarnings("ignore")
def test_an_audit_judges_with_the_object_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config's judge is not loaded; the two models answer by a rule."""

    def refuse(_config: object) -> None:
        raise AssertionError("the config's judge was loaded")

    use_tiny_parts(monkeypatch.setattr)
    monkeypatch.setattr(build, "load_judge", refuse)
    monkeypatch.setattr(session, "why_no_encoder", lambda: "it is left out")
    pair = AnswererPair(Says("Lyon"), Says("Paris"))  # type: ignore[arg-type]
    monkeypatch.setattr(session, "answerers_of_modules", lambda *_, **__: pair)
    questions = tmp_path / "questions.jsonl"
    lines = [json.dumps({"question": text, "subject": "rome"}) + "\n" for text in QUESTIONS]
    questions.write_text("".join(lines))
    judge = Half()
    report = contraflow.audit(
        fresh_lm().model,
        fresh_lm().tokenizer,
        [Edit(fact=FACT)],
        control=fresh_lm().model,
        out=tmp_path / "AUD",
        run="untrained",
        config=tiny_config(tmp_path),
        judge=judge,
        questions=questions,
        neighbors="none",
    )
    assert {row.question for row in report.rows} >= set(QUESTIONS)
    scores = [row.log_contradiction for row in report.rows]
    assert scores == pytest.approx([LOG_HALF] * len(scores)) and judge.n > 2
    assert report.result.notes[-1] == "judge of the caller's own: Half (identity half-1)"
