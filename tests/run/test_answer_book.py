"""The file of answers: nothing is asked twice, and a cut line is asked again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.run.answer_book import AnswerBook
from contraflow.types import Answer


class Parrot:
    """Answers with the question, and counts what it was asked."""

    def __init__(self, identity: str = "parrot", log_p: float = -1.0) -> None:
        self.identity = identity
        self.log_p = log_p
        self.asked: list[str] = []

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        self.asked += questions
        return [Answer(f"{self.identity}: {question}", self.log_p) for question in questions]


def test_an_audit_that_was_stopped_asks_nothing_twice(tmp_path: Path) -> None:
    oracle = Parrot()
    with AnswerBook(tmp_path / "answers.jsonl") as book:
        first = book.ask(oracle, ["a?", "b?", "a?"])
    assert oracle.asked == ["a?", "b?"]
    with AnswerBook(tmp_path / "answers.jsonl") as book:
        assert book.missing(oracle, ["b?", "c?"]) == ["c?"]
        assert book.ask(oracle, ["a?", "b?", "a?"]) == first
    assert oracle.asked == ["a?", "b?"]


def test_two_models_never_share_an_answer(tmp_path: Path) -> None:
    with AnswerBook(tmp_path / "answers.jsonl") as book:
        book.ask(Parrot("edited"), ["a?"])
        (answer,) = book.ask(Parrot("control"), ["a?"])
    assert answer.text == "control: a?"


def test_a_line_that_a_kill_has_cut_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with AnswerBook(path) as book:
        book.ask(Parrot(), ["a?", "b?"])
    path.write_bytes(path.read_bytes()[:-10])
    oracle = Parrot()
    with AnswerBook(path) as book:
        book.ask(oracle, ["a?", "b?"])
    assert oracle.asked == ["b?"]
    assert len(path.read_bytes().splitlines()) == 2


def test_an_unknown_log_likelihood_stays_unknown(tmp_path: Path) -> None:
    for _ in range(2):
        with AnswerBook(tmp_path / "answers.jsonl") as book:
            (answer,) = book.ask(Parrot(log_p=math.nan), ["a?"])
        assert math.isnan(answer.log_p)


def test_a_line_of_something_else_is_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"question": "a?"}\n')
    with pytest.raises(UserError, match=r"answers\.jsonl:1: is not an answer"):
        AnswerBook(path)


class Failing(Parrot):
    """Gives two answers, one by one, then its server is gone."""

    def answer_each(
        self, questions: Sequence[str], on_answer: Callable[[str, Answer], None]
    ) -> None:
        for question, answer in zip(questions, self.answer(questions[:2]), strict=False):
            on_answer(question, answer)
        raise UserError("the server is gone")


def test_answers_of_a_batch_that_failed_are_not_paid_for_again(tmp_path: Path) -> None:
    told: list[int] = []
    with AnswerBook(tmp_path / "answers.jsonl") as book, pytest.raises(UserError, match="gone"):
        book.ask(Failing(), ["a?", "b?", "c?"], told.append)
    assert told == [1, 1]
    oracle = Parrot()
    with AnswerBook(tmp_path / "answers.jsonl") as book:
        book.ask(oracle, ["a?", "b?", "c?"])
    assert oracle.asked == ["c?"]


def test_one_by_one_each_answer_is_on_the_disk_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    lines: list[int] = []
    with AnswerBook(path) as book, pytest.raises(UserError, match="gone"):
        book.ask(
            Failing(), ["a?", "b?", "c?"], lambda _: lines.append(path.read_bytes().count(b"\n"))
        )
    assert lines == [1, 2]
