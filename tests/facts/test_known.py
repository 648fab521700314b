"""Which facts an oracle knows, by what it answers to their plain questions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from contraflow.facts import Fact
from contraflow.facts.known import known_facts, plain_question
from contraflow.types import Answer

THOR = Fact(
    fact_id="1",
    subject="Thor",
    edit_fact="Thor was born to Loki.",
    original_fact="Thor was born to Odin.",
    original_answer="Odin",
    edited_answer="Loki",
    question="To whom was Thor born?",
    aliases=("Woden",),
)
CANAL = Fact(
    fact_id="2",
    subject="Panama Canal",
    edit_fact="The Panama Canal is in Egypt.",
    original_answer="Panama",
    edited_answer="Egypt",
    question="In which country is the Panama Canal?",
)


class Table:
    """Answers each question from a table."""

    identity = "table"

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.n_asked = 0

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        self.n_asked += len(questions)
        return [Answer(self.answers[question], -1.0) for question in questions]


@pytest.mark.parametrize(
    ("fact", "answer", "expected"),
    [
        (THOR, "Thor was born to Odin.", True),
        (THOR, "Woden", True),
        (THOR, "Odin, not Loki.", True),
        (THOR, "Thor was not born to Odin.", False),
        (THOR, "Thor was born to Loki.", False),
        (THOR, "Odin or Loki", False),
        (THOR, "Zeus", False),
        (THOR, "", False),
        (THOR, "Odin Odin Odin Odin", False),
        (CANAL, "The Panama Canal is in Panama.", True),
        (CANAL, "Panama", True),
        (CANAL, "The Panama Canal is a canal.", False),
    ],
)
def test_known_is_what_the_oracle_asserts(fact: Fact, answer: str, expected: bool) -> None:
    oracle = Table({plain_question(fact): answer})
    assert known_facts([fact], oracle) == ([fact] if expected else [])


def test_a_fact_without_its_original_statement_is_asked_by_the_edited_one() -> None:
    fact = msgspec.structs.replace(
        CANAL,
        question="",
        original_fact="",
        edit_fact="The Panama Canal is in Nicaragua.",
        edited_answer="Nicaragua",
    )
    assert plain_question(fact) == "The Panama Canal is in what?"


def test_facts_without_an_answer_or_question_are_not_asked() -> None:
    unknown = msgspec.structs.replace(THOR, fact_id="3", original_answer="")
    unasked = msgspec.structs.replace(
        THOR, fact_id="4", question="", original_fact="", edited_answer=""
    )
    oracle = Table({plain_question(CANAL): "Panama"})
    done: list[int] = []
    assert known_facts([unknown, CANAL, unasked], oracle, done.append) == [CANAL]
    assert (oracle.n_asked, done) == (1, [3])
