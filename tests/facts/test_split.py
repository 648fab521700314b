"""Splits keep every fact, share no subject, and move nothing when facts come or go."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contraflow.facts import Fact, default_facts, split_facts
from contraflow.facts.fact import fact_id_for
from contraflow.facts.split import held_out_relations


def make_fact(subject: str, relation: str = "capital") -> Fact:
    edit_fact = f"The {relation} of {subject} is X."
    return Fact(
        fact_id=fact_id_for(subject, edit_fact),
        subject=subject,
        edit_fact=edit_fact,
        relation=relation,
    )


@given(
    st.lists(st.tuples(st.sampled_from("aAbBcdefgh"), st.sampled_from("rstuvw")), max_size=40),
    st.randoms(),
)
def test_splits_keep_every_fact_and_share_nothing(
    pairs: list[tuple[str, str]], random: object
) -> None:
    facts = [make_fact(subject, relation) for subject, relation in pairs]
    splits = split_facts(facts)
    assert sorted(f.fact_id for part in splits for f in part) == sorted(f.fact_id for f in facts)
    seen: dict[str, str] = {}
    for name, part in zip(splits._fields, splits, strict=True):
        for fact in part:
            assert seen.setdefault(fact.subject.casefold(), name) == name
    held_out = {fact.relation for fact in splits.test_relations}
    assert not held_out & {fact.relation for part in splits[:3] for fact in part}
    random.shuffle(facts)  # type: ignore[attr-defined]
    assert [set(part) for part in split_facts(facts)] == [set(part) for part in splits]


def test_dropping_facts_moves_no_subject_between_splits() -> None:
    facts = [fact for fact in default_facts() if fact.relation == "capital_of_country"]
    place = {
        fact.subject: name for name, part in split_facts(facts)._asdict().items() for fact in part
    }
    for name, part in split_facts(facts[::3])._asdict().items():
        assert all(place[fact.subject] == name for fact in part)


def test_a_relation_that_shares_subjects_is_never_held_out() -> None:
    """France has a capital and a currency: holding out one would show its subject in training."""
    relations = [f"relation {n}" for n in range(60)]
    apart = [make_fact(f"subject {n}", relation) for n, relation in enumerate(relations)]
    assert held_out_relations(apart)
    assert not held_out_relations([make_fact("France", relation) for relation in relations])


def test_facts_without_a_relation_are_never_held_out() -> None:
    assert not split_facts([make_fact(f"s{n}", "") for n in range(50)]).test_relations


def test_default_facts_split_into_useful_parts() -> None:
    splits = split_facts(default_facts())
    assert len(splits.train) > 1000
    assert min(len(splits.validation), len(splits.test), len(splits.test_relations)) >= 100
    assert len({fact.relation for fact in splits.test_relations}) >= 3


@pytest.mark.parametrize("subject", ["Málaga", "Bogotá", "Côte d'Ivoire", "Zürich"])
def test_two_unicode_forms_of_a_subject_share_a_part(subject: str) -> None:
    forms = [subject, unicodedata.normalize("NFD", subject), subject.upper()]
    parts = split_facts([make_fact(form, "") for form in forms])
    assert sorted(map(len, parts)) == [0, 0, 0, 3]


def test_a_subject_in_two_unicode_forms_ties_its_relations() -> None:
    """As if its name were written once, so the relation that was held out no longer is."""
    relations = [f"relation {n}" for n in range(60)]
    apart = {relation: make_fact(f"subject {relation}", relation) for relation in relations}
    held_out = held_out_relations([*apart.values()])
    tied = min(held_out)
    other = min(apart.keys() - held_out)
    apart[tied] = make_fact("Málaga", tied)
    apart[other] = make_fact(unicodedata.normalize("NFD", "Málaga"), other)
    assert held_out_relations([*apart.values()]) == held_out - {tied}
