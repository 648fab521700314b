"""Answers to plain questions that are kept between runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from contraflow.facts import Fact, default_facts, plain_answers
from contraflow.facts.known import known_facts, plain_question
from contraflow.facts.plain_answers import PlainAnswers, write_shipped
from contraflow.types import Answer

ODIN = Fact(
    fact_id="1",
    subject="Thor",
    edit_fact="Thor was born to Loki.",
    original_answer="Odin",
    edited_answer="Loki",
    question="To whom was Thor born?",
)
RIGHT = {plain_question(ODIN): "Thor was born to Odin."}


class Table:
    """Answers from a table, and keeps what it was asked."""

    identity = "table"

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        self.asked += questions
        return [Answer(self.answers[question], -1.0) for question in questions]


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    first = Table(RIGHT)
    assert known_facts([ODIN], first, remembered=PlainAnswers("a", tmp_path)) == [ODIN]
    second = Table({})
    assert known_facts([ODIN], second, remembered=PlainAnswers("a", tmp_path)) == [ODIN]
    assert (first.asked, second.asked) == (list(RIGHT), [])


def test_another_oracle_is_asked(tmp_path: Path) -> None:
    """An edited model or another prompt has another identity."""
    known_facts([ODIN], Table(RIGHT), remembered=PlainAnswers("a", tmp_path))
    other = Table({plain_question(ODIN): "Thor was born to Loki."})
    assert known_facts([ODIN], other, remembered=PlainAnswers("b", tmp_path)) == []
    assert other.asked == list(RIGHT)


def test_only_new_questions_are_asked_once(tmp_path: Path) -> None:
    remembered = PlainAnswers("a", tmp_path)
    remembered.add(RIGHT)
    twin = Fact(
        fact_id="2",
        subject="Rome",
        edit_fact="Rome is in Spain.",
        original_answer="Italy",
        question="Where is Rome?",
    )
    oracle = Table({"Where is Rome?": "Rome is in Italy."})
    assert known_facts([twin, ODIN, twin], oracle, remembered=remembered) == [twin, ODIN, twin]
    assert oracle.asked == ["Where is Rome?"]


def test_a_line_cut_by_a_kill_costs_one_answer(tmp_path: Path) -> None:
    first = PlainAnswers("a", tmp_path)
    first.add({"one?": "1"})
    first.path.write_bytes(first.path.read_bytes() + b'{"question": "two?", "ans\n')
    PlainAnswers("a", tmp_path).add({"three?": "3"})
    again = PlainAnswers("a", tmp_path)
    assert [again.get(f"{n}?") for n in ("one", "two", "three")] == ["1", None, "3"]


def test_two_processes_add_to_one_file(tmp_path: Path) -> None:
    a, b = PlainAnswers("a", tmp_path), PlainAnswers("a", tmp_path)
    a.add({"one?": "1"})
    b.add({"two?": "2"})
    again = PlainAnswers("a", tmp_path)
    assert (again.get("one?"), again.get("two?")) == ("1", "2")


def test_a_folder_that_is_a_file_only_costs_time(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    remembered = PlainAnswers("a", file / "below")
    remembered.add(RIGHT)
    assert remembered.get(plain_question(ODIN)) == "Thor was born to Odin."


def test_shipped_answers_count_for_their_oracle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = tmp_path / "asset.jsonl"
    assert write_shipped("a", RIGHT.items(), asset) == 1
    monkeypatch.setattr(plain_answers, "SHIPPED", asset)
    for oracle, expected in (("a", "Thor was born to Odin."), ("b", None)):
        assert PlainAnswers(oracle, tmp_path / "none").get(plain_question(ODIN)) == expected


def test_every_shipped_fact_has_a_shipped_answer() -> None:
    """Else a run would ask again, and no one would see it but by the minutes."""
    rows = list(plain_answers._rows(plain_answers.SHIPPED))
    answered = {row["question"] for row in rows[1:]}
    assert {plain_question(f) for f in default_facts() if f.original_answer} - {""} <= answered
