"""Two-hop questions, joined from facts: "What is the capital of the country where Ada was born?"

An edit says who, where or what its subject's answer is; a second fact is about that answer. Its
plain question, with a description of the answer in place of its name, is asked. The description is
a noun phrase for the relation of the edit. A join needs the types of both facts (Georgia is a state
and a country), so only relations in the tables below are joined.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contraflow.facts.edit import Edit, Probe
from contraflow.facts.fact import Fact
from contraflow.text.folding import caseless
from contraflow.text.match import mentions, same_answer

# Relation of an edit -> type of its answer, and the answer's description by the edit's subject.
_DESCRIBED = {
    "birth_country_of_person": ("country", "the country where {} was born"),
    "country_of_company": ("country", "the country that the company {} is from"),
    "country_of_city": ("country", "the country where {} is located"),
    "country_of_dish": ("country", "the country where {} originated"),
    "country_of_landmark": ("country", "the country that is home to {}"),
    "state_of_us_city": ("state", "the U.S. state where {} is located"),
    "city_of_landmark": ("city", "the city that is home to {}"),
    "city_of_team": ("city", "the home city of {}"),
    "birth_city_of_person": ("city", "the city where {} was born"),
    "capital_of_country": ("city", "the capital of {}"),
    "capital_of_us_state": ("city", "the capital of the state of {}"),
    "author_of_book": ("person", "the author of {}"),
    "painter_of_painting": ("person", "the painter of {}"),
    "composer_of_work": ("person", "the composer of {}"),
    "director_of_film": ("person", "the director of the film {}"),
    "sculptor_of_sculpture": ("person", "the sculptor of {}"),
    "artist_of_song": ("person", "the artist who recorded the song {}"),
    "artist_of_album": ("person", "the artist who released the album {}"),
    "creator_of_character": ("person", "the creator of {}"),
    "creator_of_computing_thing": ("person", "the creator of {}"),
    "inventor_of_invention": ("person", "the inventor of {}"),
    "discoverer_of_idea": ("person", "the person who discovered {}"),
    "author_of_theory": ("person", "the person who came up with {}"),
    "founder_of_company": ("person", "the founder of {}"),
    "founder_of_religion": ("person", "the founder of {}"),
    "leader_fact": ("person", "{}"),
    "first_person_to": ("person", "{}"),
    "maker_of_product": ("company", "the company that makes {}"),
    "maker_of_car": ("company", "the company that makes {}"),
    "maker_of_food_or_drink": ("company", "the company that makes {}"),
    "sport_of_athlete": ("sport", "the sport that {} is famous for"),
    "element_of_symbol": ("element", "the element with the symbol {}"),
}
# Relation of a second fact -> type of its subject.
_ASKED = {
    "capital_of_country": "country",
    "currency_of_country": "country",
    "main_language_of_country": "country",
    "continent_of_country": "country",
    "capital_of_us_state": "state",
    "country_of_city": "city",
    "river_of_city": "city",
    "state_of_us_city": "city",
    "birth_country_of_person": "person",
    "birth_city_of_person": "person",
    "nationality_of_person": "person",
    "profession_of_person": "person",
    "country_of_company": "company",
    "founder_of_company": "company",
    "players_in_team": "sport",
    "inventor_of_invention": "sport",
    "atomic_number_of_element": "element",
}
_CLASS = r"(?:the (?:state of|city of|company|element) |the )?"
# A description ends in a verb of its own ("where Ada was born"), so that no other verb and no
# preposition may follow it.
_REORDERED = (
    (r"(?:Which|What) (\w+) is {} (in|on|from)\?", r"\2 which \1 is {}?"),
    (
        r"What language do most people in {} speak\?",
        r"Which language is spoken by most people in {}?",
    ),
    (r"On which river does {} lie\?", r"Which river flows through {}?"),
)


@dataclass(frozen=True)
class _Index:
    """Facts by the relation and the case-folded subject."""

    facts: Mapping[tuple[str, str], Fact]

    @classmethod
    def of(cls, facts: Iterable[Fact]) -> _Index:
        return cls({(fact.relation, caseless(fact.subject)): fact for fact in facts})

    def about(self, relation: str, names: Sequence[str]) -> Fact | None:
        """Return the fact of the first name that has one."""
        keys = ((relation, caseless(name)) for name in names)
        return next((self.facts[key] for key in keys if key in self.facts), None)


def two_hop(edits: Sequence[Edit], facts: Iterable[Fact]) -> dict[str, tuple[Probe, ...]]:
    """Return the two-hop questions of each edit, by `fact_id`; edits without any are left out.

    facts: those that no edit changes (`contraflow.facts.neighbors.unedited`); they give the second
        hop. A probe's `original_answers` are right in the original world and its `answers` in the
        edited one; either is empty if the set has no fact about the answer in question. Questions
        that name an answer, and those with the same answer in both worlds, are left out.
    """
    index = _Index.of(fact for fact in facts if fact.question and fact.original_answer)
    found = {edit.fact.fact_id: tuple(_chains(edit, index)) for edit in edits}
    return {fact_id: probes for fact_id, probes in found.items() if probes}


def _chains(edit: Edit, index: _Index) -> Iterable[Probe]:
    answer_type, template = _DESCRIBED.get(edit.fact.relation, ("", ""))
    named = _named(edit.fact)
    if not named:
        return
    original_names = [name for name in (edit.fact.original_answer, *edit.fact.aliases) if name]
    edited_names = [name for name in (edit.fact.edited_answer, *edit.edited_aliases) if name]
    for relation, asked_type in _ASKED.items():
        if asked_type != answer_type:
            continue
        before = index.about(relation, original_names)
        after = index.about(relation, edited_names)
        probe = _probe(template.format(named), before, after)
        hops = [*original_names, *edited_names]
        if probe is not None and not any(mentions(probe.prompt, name) for name in hops):
            yield probe


def _probe(description: str, before: Fact | None, after: Fact | None) -> Probe | None:
    """Ask the second fact's question about the description; None if nothing would be tested."""
    second = before or after
    if second is None:
        return None
    if before and after and same_answer(before.original_answer, after.original_answer):
        return None
    question = _asked_about(second, description)
    answers = [fact.original_answer for fact in (before, after) if fact is not None]
    if not question or any(mentions(question, answer) for answer in answers):
        return None
    return Probe(
        kind=f"multi_hop/{second.relation}",
        prompt=question,
        answers=_spellings(after),
        original_answers=_spellings(before),
    )


def _spellings(fact: Fact | None) -> tuple[str, ...]:
    return () if fact is None else tuple(dict.fromkeys((fact.original_answer, *fact.aliases)))


def _named(fact: Fact) -> str:
    """Return the subject as the fact's plain question writes it, with its article."""
    found = re.search(rf"(?<!\w)(the )?({re.escape(fact.subject)})(?!\w)", fact.question)
    return "" if found is None else f"{found[1] or ''}{found[2]}"


def _asked_about(fact: Fact, description: str) -> str:
    """Return the fact's plain question with the description in place of its subject; else ""."""
    subject = rf"(?<!\w){_CLASS}{re.escape(fact.subject)}(?!\w)"
    match = re.search(subject, fact.question, re.IGNORECASE)
    if match is None:
        return ""
    question = f"{fact.question[: match.start()]}{{}}{fact.question[match.end() :]}"
    for pattern, ordered in _REORDERED:
        found = re.fullmatch(pattern.replace("{}", r"\{\}"), question)
        question = found.expand(ordered) if found is not None else question
    question = question.replace("{}", description)
    return question[0].upper() + question[1:]
