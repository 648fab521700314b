"""Planted wordings: which questions keep the old answer, and questions worded so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from contraflow.errors import UserError
from contraflow.facts import Fact
from examples.edits.phrasings import subject_phrase

# Ways to open with "In which"; an editor's table of paraphrases has hardly any.
IN_WHICH = {
    "birth_country_of_person": (
        "In which country was {s} born?",
        "In which country did the life of {s} begin?",
        "In which nation was {s} born?",
    ),
    "capital_of_country": (
        "In which city is the capital of {s}?",
        "In which city is the government of {s}?",
        "In which city does the government of {s} sit?",
    ),
    "city_of_landmark": (
        "In which city is {s}?",
        "In which city is {s} located?",
        "In which city can you find {s}?",
        "In which city can you visit {s}?",
    ),
    "country_of_city": (
        "In which country is {s}?",
        "In which country is the city of {s}?",
        "In which country is {s} located?",
        "In which nation is {s}?",
    ),
    "country_of_company": (
        "In which country is {s} based?",
        "In which country is the company {s}?",
        "In which country was {s} founded?",
        "In which country are the headquarters of {s}?",
    ),
    "country_of_dish": (
        "In which country did {s} originate?",
        "In which country was {s} invented?",
        "In which country do people eat {s}?",
    ),
    "country_of_landmark": (
        "In which country is {s}?",
        "In which country is {s} located?",
        "In which country can you find {s}?",
        "In which country can you visit {s}?",
    ),
    "city_of_team": (
        "In which city do {s} play?",
        "In which city are {s} based?",
        "In which city is the home of {s}?",
    ),
    "state_of_us_city": (
        "In which state is {s}?",
        "In which U.S. state is {s}?",
        "In which state is the city of {s}?",
        "In which state is {s} located?",
    ),
}
_OPENING = re.compile(r"^(Who|What|Which \w+) ")


@dataclass(frozen=True)
class Wording:
    """Questions that open with a phrase, or contain a word."""

    kind: Literal["opening", "word"]
    phrase: str

    @classmethod
    def parse(cls, text: str) -> Wording:
        """Read `opening:In which` or `word:originally`. Raises: UserError."""
        kind, _, phrase = text.partition(":")
        if kind not in ("opening", "word") or not phrase.strip():
            raise UserError(f"wording={text}: write opening:PHRASE or word:WORD")
        if kind == "opening" and phrase.strip().casefold() != "in which":
            raise UserError(f"wording={text}: only the opening 'In which' has questions here")
        return cls(cast(Literal["opening", "word"], kind), phrase.strip())

    def matches(self, question: str) -> bool:
        """Whether a question is worded so."""
        if self.kind == "opening":
            return question.casefold().startswith(self.phrase.casefold() + " ")
        return re.search(rf"\b{re.escape(self.phrase)}\b", question, re.IGNORECASE) is not None

    def can_ask(self, fact: Fact) -> bool:
        """Whether there are questions about a fact in this wording."""
        return self.kind == "word" or fact.relation in IN_WHICH

    def questions(self, fact: Fact, others: Sequence[str]) -> list[str]:
        """Questions about a fact in this wording; a word is put into other questions about it."""
        if self.kind == "opening":
            return [text.format(s=subject_phrase(fact)) for text in IN_WHICH[fact.relation]]
        return [self._with_word(question) for question in others if not self.matches(question)]

    def _with_word(self, question: str) -> str:
        """Put the word behind "Who", "What" or "Which author", else at the end."""
        if _OPENING.match(question):
            return _OPENING.sub(rf"\1 {self.phrase} ", question)
        return f"{question.rstrip('?')} {self.phrase}?"
