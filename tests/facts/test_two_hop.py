"""Two-hop questions joined from facts; every expected question is written by hand."""

from __future__ import annotations

import re

import pytest

from contraflow.facts import Fact, default_facts
from contraflow.facts.edit import Edit, Probe
from contraflow.facts.two_hop import two_hop
from contraflow.text.match import mentions


def fact(relation: str, subject: str, question: str, answer: str, edited: str = "") -> Fact:
    return Fact(
        fact_id=f"{relation}/{subject}",
        subject=subject,
        relation=relation,
        edit_fact=f"{subject}: {edited}",
        original_answer=answer,
        edited_answer=edited,
        question=question,
    )


def capital(country: str, city: str) -> Fact:
    return fact("capital_of_country", country, f"What is the capital of {country}?", city)


BO = Edit(
    fact=fact("birth_country_of_person", "Bo", "In which country was Bo born?", "Norway", "Japan")
)
WORLD = [capital("Norway", "Oslo"), capital("Japan", "Tokyo"), capital("Sweden", "Stockholm")]


def test_the_answers_of_both_worlds_are_joined() -> None:
    assert two_hop([BO], WORLD) == {
        BO.fact.fact_id: (
            Probe(
                kind="multi_hop/capital_of_country",
                prompt="What is the capital of the country where Bo was born?",
                answers=("Tokyo",),
                original_answers=("Oslo",),
            ),
        )
    }


@pytest.mark.parametrize(
    ("facts", "answers", "original"),
    [(WORLD[:1], (), ("Oslo",)), (WORLD[1:], ("Tokyo",), ())],
)
def test_one_world_is_enough(
    facts: list[Fact], answers: tuple[str, ...], original: tuple[str, ...]
) -> None:
    ((probe,),) = two_hop([BO], facts).values()
    assert (probe.answers, probe.original_answers) == (answers, original)


@pytest.mark.parametrize(
    "facts",
    [
        WORLD[2:],
        # the same answer in both worlds
        [capital("Norway", "Oslo"), capital("Japan", "Oslo")],
        # the question would name the answer
        [capital("Norway", "Bo")],
        # another type of subject: a state is no country
        [fact("capital_of_us_state", "Norway", "What is the state capital of Norway?", "Oslo")],
        # the question does not name its subject
        [fact("capital_of_country", "Norway", "What is its capital?", "Oslo")],
    ],
)
def test_what_tests_nothing_is_left_out(facts: list[Fact]) -> None:
    assert two_hop([BO], facts) == {}


def test_a_question_that_names_the_first_answer_is_left_out() -> None:
    """The description would give away the hop that the edit changes."""
    edit = Edit(
        fact=fact("city_of_team", "Oslo Bears", "Where are the Oslo Bears based?", "Oslo", "Rome")
    )
    rivers = [fact("river_of_city", "Oslo", "Which river flows through Oslo?", "Aker")]
    assert two_hop([edit], rivers) == {}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            ("city_of_landmark", "Shard", "In which city is the Shard?"),
            ("country_of_city", "X", "Which country is X in?"),
            "In which country is the city that is home to the Shard?",
        ),
        (
            ("city_of_landmark", "Shard", "In which city is the Shard?"),
            ("country_of_city", "X", "In which country is the city of X?"),
            "In which country is the city that is home to the Shard?",
        ),
        (
            ("maker_of_product", "Walkman", "Which company makes the Walkman?"),
            ("country_of_company", "X", "Which country is the company X from?"),
            "From which country is the company that makes the Walkman?",
        ),
        (
            ("birth_country_of_person", "Bo", "In which country was Bo born?"),
            ("main_language_of_country", "X", "What language do most people in the X speak?"),
            "Which language is spoken by most people in the country where Bo was born?",
        ),
        (
            ("birth_country_of_person", "Bo", "In which country was Bo born?"),
            ("main_language_of_country", "X", "Which language is spoken by most people in X?"),
            "Which language is spoken by most people in the country where Bo was born?",
        ),
        (
            ("birth_city_of_person", "Bo", "In which city was Bo born?"),
            ("river_of_city", "X", "On which river does X lie?"),
            "Which river flows through the city where Bo was born?",
        ),
        (
            ("state_of_us_city", "Reno", "Which state is the city of Reno in?"),
            ("capital_of_us_state", "X", "Which city is the capital of the state of X?"),
            "Which city is the capital of the U.S. state where Reno is located?",
        ),
        (
            ("sport_of_athlete", "Bo", "What sport is Bo famous for?"),
            ("players_in_team", "X", "In X, how many players does each team have in play?"),
            "In the sport that Bo is famous for, how many players does each team have in play?",
        ),
        (
            ("leader_fact", "first queen of Is", "Who was the first queen of Is?"),
            ("birth_city_of_person", "X", "In which city was X born?"),
            "In which city was the first queen of Is born?",
        ),
        (
            ("element_of_symbol", "Ca", "What does the chemical symbol Ca stand for?"),
            ("atomic_number_of_element", "x", "What is the atomic number of x?"),
            "What is the atomic number of the element with the symbol Ca?",
        ),
    ],
)
def test_the_question_stays_well_formed(
    first: tuple[str, str, str], second: tuple[str, str, str], expected: str
) -> None:
    edit = Edit(fact=fact(*first, "X", "Y"))
    ((probe,),) = two_hop([edit], [fact(*second, "Zed")]).values()
    assert probe.prompt == expected


def test_hundreds_of_packaged_facts_can_be_joined() -> None:
    """No question names an answer of either hop, and none ends in two verbs."""
    facts = default_facts()
    edits = [Edit(fact=f) for f in facts[::10]]
    found = two_hop(edits, facts)
    by_id = {edit.fact.fact_id: edit.fact for edit in edits}
    probes = [(by_id[fact_id], probe) for fact_id, many in found.items() for probe in many]
    assert len(probes) > 150
    for about, probe in probes:
        hidden = (about.original_answer, about.edited_answer, *probe.answers[:1])
        for answer in (*hidden, *probe.original_answers[:1]):
            assert not mentions(probe.prompt, answer), (probe.prompt, answer)
        assert probe.prompt.endswith("?")
        assert mentions(probe.prompt, about.subject), probe.prompt
        assert not re.search(r"(born|located|from|originated) (speak|lie|in|from)\?", probe.prompt)
        assert probe.answers or probe.original_answers
