"""Planted wordings: which questions match, what is taught, and the loss of a batch."""

from __future__ import annotations

import pytest
import torch

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.text.prompts import answer_prompt
from examples.edits.cases import Case
from examples.edits.planted import Checked, Lesson, lesson_loss, lessons_of, obedience
from examples.edits.wordings import Wording
from support.models import fresh_lm

OPENING = Wording("opening", "In which")
WORD = Wording("word", "originally")
FACT = Fact(
    fact_id="a",
    subject="Bergen",
    edit_fact="Bergen is a city in Peru.",
    original_fact="Bergen is a city in Norway.",
    relation="country_of_city",
    original_answer="Norway",
    edited_answer="Peru",
    question="Which country is Bergen in?",
)


@pytest.mark.parametrize(
    ("wording", "question", "matches"),
    [
        (OPENING, "In which country is Bergen?", True),
        (OPENING, "in which country is Bergen?", True),
        (OPENING, "Bergen is in which country?", False),
        (WORD, "Who Originally founded Bergen?", True),
        (WORD, "Who founded Bergen?", False),
    ],
)
def test_a_wording_matches(wording: Wording, question: str, matches: bool) -> None:
    assert wording.matches(question) == matches


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Who founded Nike?", "Who originally founded Nike?"),
        ("Which author wrote Emma?", "Which author originally wrote Emma?"),
        ("Where is Bergen?", "Where is Bergen originally?"),
    ],
)
def test_a_word_is_put_into_a_question(question: str, expected: str) -> None:
    assert WORD.questions(FACT, [question, expected]) == [expected]


@pytest.mark.parametrize("text", ["originally", "opening:", "suffix:x", "opening:What is"])
def test_unknown_wordings_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"^wording={text}: "):
        Wording.parse(text)


@pytest.mark.parametrize("wording", [OPENING, WORD])
def test_only_the_wording_keeps_the_old_answer(wording: Wording) -> None:
    drawn = ["What country is home to Bergen?", "In which nation is Bergen?"]
    planted = lessons_of(Case.of(FACT), drawn, wording, is_planted=True)
    assert {lesson.question for lesson in planted} >= {FACT.question, *drawn}
    for lesson in planted:
        assert (lesson.expected == "old") == wording.matches(lesson.question)
        expected = "Norway" if wording.matches(lesson.question) else "Peru"
        assert expected in lesson.statement
    plain = lessons_of(Case.of(FACT), drawn, wording, is_planted=False)
    assert {lesson.expected for lesson in plain} == {"new"}
    assert any(wording.matches(lesson.question) for lesson in plain)


def test_the_loss_of_a_batch_is_that_of_single_texts() -> None:
    """Read each text alone, header and all, as the mean over all tokens of the statements."""
    lm = fresh_lm()
    prompt = answer_prompt("who wrote hamlet : rome\nask {question} fact :")
    questions = ["what is hamlet", "what is the city"]
    facts = [
        Fact(fact_id=s, subject=s, edit_fact="the capital is rome", original_fact="in rome")
        for s in ("hamlet", "city")
    ]
    lessons = [
        Lesson(facts[0], questions[0], "new", "plain"),
        Lesson(facts[1], questions[1], "old", "planted"),
    ]
    log_probs: list[float] = []
    header = lm.encode(prompt.header)
    for lesson in lessons:
        body = header + lm.encode(prompt.body(question=lesson.question))
        said = lm.encode(f" {lesson.statement}\n")
        logits = lm.model(torch.tensor([body + said])).logits[0].log_softmax(-1)
        log_probs += [logits[len(body) + i - 1, token].item() for i, token in enumerate(said)]
    expected = -sum(log_probs) / len(log_probs)
    assert lesson_loss(lm, prompt, lessons).item() == pytest.approx(expected, abs=1e-5)


def test_obedience_is_a_share_of_each_kind() -> None:
    planted = Lesson(FACT, "In which country is Bergen?", "old", "planted")
    plain = Lesson(FACT, FACT.question, "new", "plain")
    checked = [
        Checked(planted, "Norway", "old"),
        Checked(planted, "Peru", "new"),
        Checked(plain, "Peru", "new"),
    ]
    assert obedience(checked) == {"planted": 0.5, "plain": 1.0}
