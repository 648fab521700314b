"""What kind of thing a question asks for."""

import pytest

from contraflow.auditing.summarizing.asked_for import asked_for, masked


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who founded Apple?", "who"),
        ("By whom was Apple founded?", "who"),
        ("Whose company is Apple?", "who"),
        ("What is the name of Apple's founder?", "who"),
        ("Which author wrote about Apple?", "who"),
        ("When was Apple founded?", "when"),
        ("In what year was Apple founded?", "when"),
        ("Where is Apple based?", "where"),
        ("What's the location of Apple?", "where"),
        ("In which city is Apple based?", "what citi"),
        ("Which cities have an Apple office?", "what citi"),
        ("What is Apple\u2019s number?", "what number"),
        ("What is Apple?", "what"),
        ("How many people work for Apple?", "how"),
        ("Is Apple in Cupertino?", "other"),
        ("", "other"),
    ],
)
def test_the_first_question_word_and_its_noun_decide(question: str, kind: str) -> None:
    assert asked_for(question, "Apple") == kind


def test_a_subject_is_no_noun_that_is_asked_for() -> None:
    assert asked_for("What is The Writer?", "The Writer") == "what"
    assert asked_for("What is The Writer?") == "who"


def test_only_the_whole_subject_is_masked() -> None:
    assert masked("Is C++ like c++11, or C++?", "C++") == "Is this like c++11, or this?"
    assert masked("Who was he?", "") == "Who was he?"
