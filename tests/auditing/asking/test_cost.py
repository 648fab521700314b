"""What an audit costs, told before it is paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from contraflow.auditing.asking.ask import Inquiry
from contraflow.auditing.asking.cost import ToCome, duration, lines_to_come, tell_cost
from contraflow.auditing.searching.adapt import AdaptSettings
from contraflow.auditing.searching.borrowed import MOST_BORROWED
from contraflow.auditing.searching.openings import MOST_OPENED
from contraflow.auditing.searching.search import most_asked
from contraflow.run.answer_book import AnswerBook
from contraflow.types import Answer, AskStyle, Forced


@dataclass
class Echo:
    """A model that answers with its own name."""

    name: str
    n_asked: int = 0

    @property
    def identity(self) -> str:
        return self.name

    def oracle(self, style: AskStyle) -> Echo:  # noqa: ARG002
        return self

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        self.n_asked += len(questions)
        return [Answer(self.name, 0.0) for _ in questions]

    def forced(self, prompts: Sequence[str], targets: Sequence[str]) -> list[Forced] | None:
        raise NotImplementedError


def test_answers_of_screening_and_adapting() -> None:
    """120 of each of three models at 1 + 2 + 3 s: 12 min.

    Adapting asks 100 of each of the two edited models and 200 of the control:
    200 · 1 + 100 · (2 + 3) = 700 s.
    """
    screening, adapting = lines_to_come(ToCome(screening=120, adapting=100), [1.0, 2.0, 3.0])
    assert screening.startswith("then up to 120 more of each model,")
    assert ": about 12 min, and the time to draw" in screening
    assert "up to 200 more of the control and 100 of each edited model: about 12 min" in adapting
    assert lines_to_come(ToCome(), [1.0, 1.0]) == []


def test_adapting_asks_what_is_borrowed_and_drawn() -> None:
    settings = AdaptSettings(steps=10, n_questions=16)
    assert most_asked(settings) == MOST_BORROWED + MOST_OPENED + 160


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")],
)
def test_a_duration_in_words(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_only_what_is_missing_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 questions of two models, 4 of them answered before; some are asked to be timed."""
    models = [Echo("control"), Echo("edited")]
    asked = [Inquiry("bare", f"Question {i}?") for i in range(10)]
    with AnswerBook(tmp_path / "answers.jsonl") as book:
        for model in models:
            book.ask(model.oracle("bare"), [inquiry.text for inquiry in asked[:4]])
        tell_cost(book, models, [asked, asked], ToCome(screening=7, adapting=5))
        first, then, last = capsys.readouterr().err.splitlines()
        assert first == "12 answers of 2 models (8 more are kept from before): about 1 s"
        assert "7 more of each model" in then and "5 of each edited model" in last
        for model in models:
            book.ask(model.oracle("bare"), [inquiry.text for inquiry in asked])
        assert [model.n_asked for model in models] == [10, 10]
        tell_cost(book, models, [asked, asked], ToCome(screening=7))
    assert capsys.readouterr().err == ""
