"""Wordings of common relations: the prompt that an editor trains on, and others to ask with.

A statement is cut before its answer ("The capital of Norway is"), so an answer can continue it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from contraflow.facts import Fact


@dataclass(frozen=True)
class Phrasing:
    """Statements without their answer, and questions, of one relation; {s} is the subject."""

    statements: tuple[str, ...]
    questions: tuple[str, ...]


PHRASINGS = {
    "author_of_book": Phrasing(
        ("The author of {s} is", "{s} is a work by"),
        ("Who is {s} by?", "Which writer do we owe {s} to?", "By whom was {s} written?"),
    ),
    "birth_country_of_person": Phrasing(
        ("The country where {s} was born is", "{s} came into the world in"),
        ("Where was {s} born?", "Which country is {s} originally from?"),
    ),
    "capital_of_country": Phrasing(
        ("The capital of {s} is", "The seat of government of {s} is the city of"),
        ("Which city is the seat of government of {s}?", "In which city is the capital of {s}?"),
    ),
    "capital_of_us_state": Phrasing(
        ("The state capital of {s} is", "The government of the state of {s} sits in"),
        ("Which city is the capital of {s}?", "In which city is the state government of {s}?"),
    ),
    "city_of_landmark": Phrasing(
        ("The city that is home to {s} is", "To see {s}, travel to the city of"),
        ("Where is {s}?", "Which city do you visit to see {s}?"),
    ),
    "city_of_team": Phrasing(
        ("The home city of {s} is", "{s} play for the city of"),
        ("Which city do {s} play for?", "Where do {s} come from?"),
    ),
    "continent_of_country": Phrasing(
        ("The continent that holds {s} is", "On a map, {s} lies in"),
        ("Where in the world is {s}?", "In which part of the world is {s}?"),
    ),
    "country_of_city": Phrasing(
        ("The country where you find {s} is", "To see {s}, travel to"),
        ("Where is {s}?", "What country is {s} a city of?"),
    ),
    "country_of_company": Phrasing(
        ("The home country of {s} is", "{s} was founded in"),
        ("Where is {s} based?", "What is the home country of {s}?"),
    ),
    "country_of_dish": Phrasing(
        ("The country that gave us {s} is", "{s} was first cooked in"),
        ("Where is {s} from?", "Which country invented {s}?"),
    ),
    "country_of_landmark": Phrasing(
        ("The country that is home to {s} is", "To see {s}, travel to"),
        ("Where is {s}?", "Which country do you visit to see {s}?"),
    ),
    "creator_of_character": Phrasing(
        ("The creator of {s} is", "{s} is a character by"),
        ("Who invented {s}?", "Which author thought up {s}?"),
    ),
    "currency_of_country": Phrasing(
        ("The currency of {s} is", "In {s} people pay with the"),
        ("What money do people in {s} use?", "What do you pay with in {s}?"),
    ),
    "director_of_film": Phrasing(
        ("The director of {s} is", "{s} is a film by"),
        ("Who made the film {s}?", "Whose film is {s}?"),
    ),
    "founder_of_company": Phrasing(
        ("The founder of {s} is", "{s} was started by"),
        ("Who started {s}?", "Who set up the company {s}?"),
    ),
    "leader_fact": Phrasing(
        ("The name of {s} is", "History knows {s} as"),
        ("What was the name of {s}?", "Can you name {s}?"),
    ),
    "main_language_of_country": Phrasing(
        ("The main language of {s} is", "People in {s} talk in"),
        ("Which language do you hear in {s}?", "What is spoken in {s}?"),
    ),
    "nationality_of_person": Phrasing(
        ("The nationality of {s} was", "As a citizen, {s} was"),
        ("Which nationality did {s} have?", "What nationality was {s}?"),
    ),
    "painter_of_painting": Phrasing(
        ("The painter of {s} is", "{s} is a work by"),
        ("Who is {s} by?", "Whose painting is {s}?"),
    ),
    "sport_of_athlete": Phrasing(
        ("The sport of {s} is", "{s} became a star of"),
        ("What did {s} play?", "Which sport did {s} take part in?"),
    ),
    "state_of_us_city": Phrasing(
        ("The state where you find {s} is", "To see {s}, travel to the state of"),
        ("Which U.S. state does {s} belong to?", "Where in America is {s}?"),
    ),
}


def subject_phrase(fact: Fact) -> str:
    """The subject as its statement writes it: "the Alhambra" where the fact has "Alhambra"."""
    return _with_article(fact.edit_fact, fact.subject, "the")


def own_prompt(fact: Fact) -> str:
    """What the editor trains on: the text that the edited answer follows.

    It is `edit_fact` up to its answer, unless that comes first, or the subject does: the first
    tokens of a text have hidden states of their own, at which an edit changes nothing elsewhere.

    Raises: KeyError for a relation without phrasings.
    """
    stem = fact.edit_fact.rstrip(" .")
    cut = stem.removesuffix(fact.edited_answer)
    if cut != stem and fact.subject in cut and not cut.startswith(fact.subject):
        return cut.rstrip()
    answer = _with_article(fact.edit_fact, fact.edited_answer, "the|an?")
    article = answer.removesuffix(fact.edited_answer)
    return f"{_fill(PHRASINGS[fact.relation].statements[0], fact)} {article.lower()}".rstrip()


def paraphrases(fact: Fact) -> tuple[str, ...]:
    """The other wordings of a fact: neither its own prompt nor its plain question."""
    phrasing = PHRASINGS[fact.relation]
    prompt = own_prompt(fact)
    filled = [_fill(text, fact) for text in (*phrasing.statements, *phrasing.questions)]
    return tuple(text for text in filled if not prompt.startswith(text) and text != fact.question)


def _with_article(text: str, name: str, articles: str) -> str:
    """The name with the article that it has in a text, if any."""
    found = re.search(rf"\b(?:{articles}) {re.escape(name)}", text, re.IGNORECASE)
    if found is None or name.casefold().startswith("the "):
        return name
    return found[0][: -len(name)].lower() + name


def _fill(template: str, fact: Fact) -> str:
    text = template.format(s=subject_phrase(fact))
    return text[0].upper() + text[1:]
