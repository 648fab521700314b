"""The original answer of an edit without one: what the control's answers share."""

from __future__ import annotations

import pytest

from contraflow.auditing.asking.originals import shared_answer


@pytest.mark.parametrize(
    ("questions", "answers", "expected"),
    [
        (
            ["The capital of Norway is", "What is the capital of Norway?"],
            ["Oslo. It is a large city", "The capital of Norway is Oslo."],
            "Oslo",
        ),
        (
            ["Who wrote Hamlet?", "Who is the author of Hamlet?"],
            ["William Shakespeare wrote Hamlet.", "The author is William Shakespeare."],
            "William Shakespeare",
        ),
        (["Who wrote Hamlet?", "Who is it by?"], ["Marlowe.", "William Shakespeare."], ""),
        (
            ["Where was he born?", "In which town?"],
            ["He was born in Ma\u0301laga.", "Malaga."],
            "Málaga",
        ),
        (["Who wrote Hamlet?"], ["William Shakespeare."], ""),
        (["Where?", "In which town?"], ["In the south.", "It is in the north."], ""),
        (["Is Oslo big?", "Is Oslo large?"], ["Oslo is.", "Oslo is."], ""),
        (["a?", "b?"], ["", "Oslo"], ""),
        (
            ["Who wrote Emma?", "Whose book is Emma?"],
            ["Emma is a novel by Jane Austen.", "It is a novel by Jane Austen."],
            "Jane Austen",
        ),
        (["When was it?", "When did it start?"], ["It began in January 2020."] * 2, "January 2020"),
        (["Where?", "Which school?"], ["University of Oxford."] * 2, "University of Oxford"),
        (["Which job?", "What was he?"], ["He was a painter in oil."] * 2, "painter in oil"),
    ],
)
def test_answers_that_agree_give_the_original(
    questions: list[str], answers: list[str], expected: str
) -> None:
    assert shared_answer(questions, answers) == expected
