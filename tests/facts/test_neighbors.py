"""Locality probes made from a small world of facts, and from the packaged ones."""

from __future__ import annotations

import pytest

from contraflow.facts import Fact, default_facts
from contraflow.facts.edit import Edit, Probe
from contraflow.facts.neighbors import (
    same_relation,
    same_subject,
    unedited,
    unrelated,
    with_neighbors,
)


def fact(relation: str, subject: str, answer: str, edited: str = "") -> Fact:
    return Fact(
        fact_id=f"{relation}/{subject}",
        subject=subject,
        relation=relation,
        edit_fact=f"The {relation} of {subject} is {edited}.",
        original_fact=f"The {relation} of {subject} is {answer}.",
        original_answer=answer,
        edited_answer=edited,
        question=f"What is the {relation} of {subject}?",
    )


NORWAY = Edit(
    fact=fact("capital", "Norway", "Oslo", "Bergen"), subject_aliases=("Kingdom of Norway",)
)
WORLD = [
    NORWAY.fact,
    fact("language", "norway", "Norwegian"),
    fact("anthem", "Kingdom of Norway", "Ja, vi elsker"),
    fact("largest city", "Norway", "Oslo"),  # another name of the capital: the edit may change it
    fact("capital", "Sweden", "Stockholm"),
    fact("capital", "Denmark", "Copenhagen"),
    fact("capital", "Viken", "Oslo"),
    fact("capital", "Vestland", "Bergen"),
    fact("language", "Sweden", "Swedish"),
]


def asked(probes: tuple[Probe, ...]) -> list[str]:
    return [probe.prompt for probe in probes]


def test_other_facts_of_the_subject_are_asked() -> None:
    assert same_subject(NORWAY, WORLD) == (
        Probe(
            kind="locality/same_subject",
            prompt="What is the language of norway?",
            answers=("Norwegian",),
        ),
        Probe(
            kind="locality/same_subject",
            prompt="What is the anthem of Kingdom of Norway?",
            answers=("Ja, vi elsker",),
        ),
    )


def test_an_edit_without_an_old_answer_may_change_any_fact_of_its_subject() -> None:
    """QAEdit's rows have neither relation nor original answer: the edited question was asked."""
    fact_of_row = Fact(fact_id="q", subject="Norway", edit_fact="Oz.", edited_answer="Oz")
    edit = Edit(fact=fact_of_row, prompt="Which city is the capital of Norway?")
    assert same_subject(edit, WORLD) == ()
    assert "norway" not in {fact.subject.casefold() for fact in unedited(WORLD, [edit])}


def test_entangled_relations_are_not_asked() -> None:
    edit = Edit(fact=fact("birth_city_of_person", "Bo", "Oslo", "Bergen"))
    facts = [fact("nationality_of_person", "Bo", "Norwegian"), fact("job", "Bo", "painter")]
    assert asked(same_subject(edit, facts)) == ["What is the job of Bo?"]


def test_other_subjects_of_the_relation_are_asked() -> None:
    """Oslo is the edit's old answer, so Viken comes first; Bergen would hide a spreading edit."""
    one = asked(same_relation(NORWAY, WORLD, 1))
    assert one == ["What is the capital of Viken?"]
    every = asked(same_relation(NORWAY, WORLD, 9))
    assert every[:1] == one
    assert sorted(every[1:]) == [
        "What is the capital of Denmark?",
        "What is the capital of Sweden?",
    ]


def test_half_of_the_relations_probes_share_the_answer() -> None:
    many = [fact("capital", f"V{number}", "Oslo") for number in range(5)]
    others = [fact("capital", f"S{number}", f"City {number}") for number in range(5)]
    for n, n_alike in ((1, 1), (4, 2), (5, 3), (8, 4), (9, 5), (10, 5)):
        probes = same_relation(NORWAY, [*many, *others], n)
        assert len(probes) == n
        assert sum(probe.answers == ("Oslo",) for probe in probes) == n_alike
    few = same_relation(NORWAY, [*many, *others[:1]], 4)
    assert sum(probe.answers == ("Oslo",) for probe in few) == 3, "the rest is filled up"


def test_the_choice_does_not_depend_on_the_order() -> None:
    facts = [fact("capital", f"S{number}", f"City {number}") for number in range(20)]
    chosen = same_relation(NORWAY, facts, 5)
    assert chosen == same_relation(NORWAY, facts[::-1], 5)
    assert asked(chosen) != [f"What is the capital of S{number}?" for number in range(5)]


def test_unrelated_facts_are_of_other_relations() -> None:
    assert asked(unrelated(NORWAY, WORLD, 5)) == ["What is the language of Sweden?"]


def test_facts_that_an_edit_changes_are_dropped() -> None:
    sweden = Edit(fact=fact("capital", "Sweden", "Stockholm", "Malmö"))
    kept = unedited(WORLD, [NORWAY, sweden])
    assert [f.fact_id for f in kept] == [
        "language/norway",
        "anthem/Kingdom of Norway",
        "capital/Denmark",
        "capital/Viken",
        "capital/Vestland",
        "language/Sweden",
    ]


def test_edits_get_the_probes_beside_their_own() -> None:
    own = Probe(kind="locality/own", prompt="Norway borders", answers=("Sweden",))
    edit = Edit(fact=NORWAY.fact, prompt="The capital of Norway is", locality=(own,))
    (found,) = with_neighbors([edit], WORLD, 1)
    assert asked(found.locality) == [
        "Norway borders",
        "What is the language of norway?",
        "What is the capital of Viken?",
    ]
    assert (found.prompt, found.paraphrases) == (edit.prompt, ())


def test_a_relation_without_other_facts_gets_unrelated_ones() -> None:
    edit = Edit(fact=fact("P36", "Norway", "Oslo", "Bergen"))
    (found,) = with_neighbors([edit], WORLD[4:6], 2)
    assert {probe.kind for probe in found.locality} == {"locality/unrelated"}


@pytest.mark.parametrize("subject", ["Mexico", "Japan"])
def test_packaged_facts_keep_the_edited_answer_out(subject: str) -> None:
    facts = default_facts()
    edit = Edit(
        fact=next(f for f in facts if f.relation == "currency_of_country" and f.subject == subject)
    )
    (found,) = with_neighbors([edit], facts, 4)
    kinds = [probe.kind for probe in found.locality]
    assert kinds.count("locality/same_relation") == 4
    assert kinds.count("locality/same_subject") >= 2
    answers = {answer for probe in found.locality for answer in probe.answers}
    assert edit.fact.edited_answer not in answers
    assert edit.fact.question not in asked(found.locality)
