"""Edits that change nothing are not counted: their failure rate would be 1."""

from __future__ import annotations

import pytest

from contraflow.auditing.asking.ask import inquiries
from contraflow.auditing.asking.questions import own_questions
from contraflow.auditing.asking.standing import ALREADY_NEW, NO_CHANGE, standing_of
from contraflow.facts import Fact
from contraflow.facts.edit import Edit
from contraflow.types import Answer


@pytest.mark.parametrize(
    ("original", "aliases", "edited", "control", "why"),
    [
        ("", (), "2020", "It began in January 2020.", ALREADY_NEW),
        ("", (), "Messi", "Lionel Messi.", ALREADY_NEW),
        ("", (), "Ronaldo", "Lionel Messi.", ""),
        ("United Kingdom", ("England", "UK"), "England", "The United Kingdom.", NO_CHANGE),
        ("2", (), "two", "2.", NO_CHANGE),
        ("American football", (), "football", "American football.", ""),
        ("American football", (), "golf", "American football.", ""),
    ],
)
def test_an_edit_that_changes_nothing_is_not_counted(
    original: str, aliases: tuple[str, ...], edited: str, control: str, why: str
) -> None:
    fact = Fact(
        fact_id="1",
        subject="the thing",
        edit_fact=f"The thing is {edited}.",
        original_answer=original,
        aliases=aliases,
        edited_answer=edited,
        question="What is the thing?",
    )
    edit = Edit(
        fact=fact, prompt="What is the thing?", paraphrases=("Tell me, what is the thing?",)
    )
    texts = [question.text for question in own_questions(edit)]
    answers = {inquiry: Answer(control, 0.0) for inquiry in inquiries(texts, ["few_shot"])}
    assert standing_of(edit, "few_shot", answers).why_not == why
