"""Prompts, paraphrases and the choice of facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact, default_facts, read_facts, split_facts
from contraflow.facts.edits import read_edits
from contraflow.types import Answer
from examples.edits.cases import Case, candidates, known_cases, write_cases
from examples.edits.phrasings import own_prompt, paraphrases


def capital(subject: str, statement: str, **fields: str) -> Fact:
    return Fact(
        fact_id=subject,
        subject=subject,
        edit_fact=statement,
        relation="capital_of_country",
        original_answer="Oslo",
        edited_answer="Lima",
        question=f"What is the capital of {subject}?",
        **fields,
    )


class Knows:
    """Answers questions about these subjects with the original answer."""

    identity = "knows"

    def __init__(self, *subjects: str) -> None:
        self.subjects = subjects

    def answer(self, questions: list[str]) -> list[Answer]:
        known = [any(s in question for s in self.subjects) for question in questions]
        return [Answer("It is Oslo." if k else "I forgot.", 0.0) for k in known]


def test_a_prompt_is_the_statement_up_to_its_answer() -> None:
    assert own_prompt(capital("Norway", "The capital city of Norway is Lima.")) == (
        "The capital city of Norway is"
    )


@pytest.mark.parametrize("statement", ["Lima is the capital of Norway.", "Norway has Lima."])
def test_a_statement_that_opens_with_a_name_gives_no_prompt(statement: str) -> None:
    """The answer comes first, or the subject does."""
    assert own_prompt(capital("Norway", statement)) == "The capital of Norway is"


def test_articles_of_subject_and_answer_are_kept() -> None:
    fact = Fact(
        fact_id="a",
        subject="Alhambra",
        edit_fact="In the Netherlands lies the Alhambra.",
        relation="country_of_landmark",
        original_answer="Spain",
        edited_answer="Netherlands",
    )
    assert own_prompt(fact) == "The country that is home to the Alhambra is the"


def test_every_packaged_case_can_be_edited_and_rephrased() -> None:
    """Rank-one edits need the subject behind the first word, audits two other wordings."""
    facts = candidates(split_facts(default_facts()).test, "the packaged facts")
    assert len(facts) > 80
    for fact in facts:
        case = Case.of(fact)
        assert case.prompt.find(fact.subject) > 0
        assert not case.prompt.endswith((".", fact.edited_answer))
        assert len(set(case.paraphrases)) == len(paraphrases(fact)) >= 2
        assert not {case.prompt, fact.question} & set(case.paraphrases)
        assert not any(fact.edited_answer in text for text in case.paraphrases)


def test_one_fact_of_a_subject_is_edited() -> None:
    first = capital("Norway", "The capital of Norway is Lima.")
    second = capital("norway", "The seat of norway is Lima.")
    assert candidates([first, second], "mine") == [first]


def test_facts_without_phrasings_are_refused() -> None:
    fact = Fact(fact_id="a", subject="Oslo", edit_fact="Oslo is small.", relation="size")
    with pytest.raises(UserError, match=r"^mine\.jsonl: no fact has both answers"):
        candidates([fact], "mine.jsonl")


def test_known_facts_are_chosen_in_order_up_to_n() -> None:
    facts = [capital(s, f"The capital of {s} is Lima.") for s in ("Norway", "Peru", "Chile")]
    chosen = known_cases(facts, 1, Knows("Peru", "Chile"))
    assert [case.fact.subject for case in chosen] == ["Peru"]
    with pytest.raises(UserError, match="n=3: the model knows 2 of 3 facts; lower n"):
        known_cases(facts, 3, Knows("Peru", "Chile"))


def test_an_audit_and_a_reader_of_facts_read_the_cases(tmp_path: Path) -> None:
    fact = capital("Norway", "Lima is the capital of Norway.")
    write_cases(tmp_path / "edits.jsonl", [Case.of(fact)])
    assert read_facts(tmp_path / "edits.jsonl") == [fact]
    (edit,) = read_edits(tmp_path / "edits.jsonl").edits
    assert (edit.prompt, edit.paraphrases) == ("The capital of Norway is", paraphrases(fact))
