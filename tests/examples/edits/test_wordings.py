"""Wordings that can be planted: which questions match, and what is asked in them."""

from __future__ import annotations

import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact, default_facts
from examples.edits.lessons import is_sound
from examples.edits.phrasings import PHRASINGS
from examples.edits.planted import MIN_WORDED
from examples.edits.worded_questions import TEMPLATES
from examples.edits.wordings import Wording

IN_WHICH = Wording("opening", "In which")
WHICH = Wording("opening", "Which")
WORD = Wording("word", "originally")
YOU = Wording("word", "you")
FACT = Fact(
    fact_id="a",
    subject="Bergen",
    edit_fact="Bergen is a city in Peru.",
    relation="country_of_city",
    original_answer="Norway",
    edited_answer="Peru",
)


@pytest.mark.parametrize(
    ("wording", "question", "matches"),
    [
        (IN_WHICH, "In which country is Bergen?", True),
        (IN_WHICH, "in which country is Bergen?", True),
        (IN_WHICH, "Bergen is in which country?", False),
        (WHICH, "Which country is Bergen in?", True),
        (WHICH, "Whichever country is Bergen in?", False),
        (WHICH, "In which country is Bergen?", False),
        (WORD, "Who Originally founded Bergen?", True),
        (WORD, "Who founded Bergen?", False),
        (YOU, "Is Bergen your home?", False),
        (Wording("word", "U.S."), "Is Bergen in the U.S. state?", True),
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


@pytest.mark.parametrize("text", ["originally", "opening:", "opening: ", "suffix:x"])
def test_unknown_wordings_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"^wording={text}: "):
        Wording.parse(text)


@pytest.mark.parametrize("text", ["opening:In  which ", "opening:in which", "word:you", "word:You"])
def test_a_wording_with_templates_asks_them(text: str) -> None:
    """Spaces and case of the phrase do not matter; what nobody has written is not asked."""
    wording = Wording.parse(text)
    assert not wording.needs_draws
    found = wording.questions(FACT, ["Where is Bergen?"])
    assert len(found) >= MIN_WORDED
    assert all(wording.matches(question) and "Bergen" in question for question in found)
    assert not Wording.parse("opening:In which").can_ask(_of_relation("author_of_book"))


def test_another_opening_is_asked_by_draws_alone() -> None:
    wording = Wording.parse("opening:Can you")
    assert wording.needs_draws
    assert wording.can_ask(FACT)
    assert wording.questions(FACT, ["Where is Bergen?"]) == []
    assert wording.matches("Can you tell me where Bergen is?")


def test_templates_are_sound_questions_in_their_wording() -> None:
    """About a packaged fact of every relation, in several different ways."""
    fact_of = {fact.relation: fact for fact in default_facts()}
    for kind, phrase in TEMPLATES:
        wording = Wording.parse(f"{kind}:{phrase}")
        for relation in TEMPLATES[kind, phrase]:
            fact = fact_of[relation]
            found = wording.questions(fact, [])
            assert len(set(found)) == len(found) >= MIN_WORDED
            assert all(wording.matches(question) for question in found)
            assert [q for q in found if not is_sound(fact, q)] == []
    assert TEMPLATES["opening", "which"].keys() == TEMPLATES["word", "you"].keys() == set(PHRASINGS)


def _of_relation(relation: str) -> Fact:
    return Fact(fact_id=relation, subject="Emma", edit_fact="Emma is old.", relation=relation)
