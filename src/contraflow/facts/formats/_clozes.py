"""Conversion of a cloze prompt and its answer to a statement: "The capital of {} is" + "Lyon".

Most prompts only need the answer and a full stop. Prompts written for a language model to continue
may still lack a main verb ("Danielle Darrieux, who speaks" + "English"); it is added here.
"""

from __future__ import annotations

import re

from contraflow.facts.formats._questions import sentence, statement_of
from contraflow.facts.formats._verbs import is_participle, third_person
from contraflow.text.words import word_set

_PARENTHESIS = r"(?P<aside> \([^)]*\))?"
_RELATIVE = re.compile(_PARENTHESIS + r",? (?:which|who|that) (?P<predicate>.+)", re.DOTALL)
_APPOSITION = re.compile(_PARENTHESIS + r", (?P<predicate>(?P<first>[^\s,]+).*)", re.DOTALL)
_OWNED = re.compile(r"(?:'s|')(?: [\w-]+){1,3}")
_PRONOUN = re.compile(
    r"(?P<pronoun>it|he|she|they) (?P<verb>\w+)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
# Participles that state something lasting: they take "is", others "was".
_LASTING = word_set("located situated based headquartered known considered named called employed")
_LINKS = word_set("from in at of by on with a an the")
_VERBS = word_set("is are was were has had plays speaks")


def filled(prompt: str, subject: str) -> str:
    """Replace {} in the prompt by the subject; runs of white space become one space."""
    return " ".join(prompt.replace("{}", subject).split())


def statement_of_cloze(prompt: str, subject: str, answer: str) -> str:
    """Return the prompt, with the subject for {}, completed by the answer to a sentence."""
    text = filled(prompt, subject)
    answer = answer.strip()
    if "?" in text:
        return _after_question(text, subject, answer)
    if text.startswith(subject):
        text = subject + _with_a_verb(text.removeprefix(subject))
    return sentence(f"{text} {answer}")


def _with_a_verb(rest: str) -> str:
    """Turn the text after the subject into a predicate."""
    relative = _RELATIVE.fullmatch(rest)
    if relative is not None:
        return f"{relative['aside'] or ''} {relative['predicate']}"
    bare = rest.rstrip(" ,")
    bare_words = bare.split()
    # "'s owner", "'s capital city,"
    if (
        _OWNED.fullmatch(bare)
        and bare_words[-1] not in _VERBS
        and (bare != rest or len(bare_words) < 3)
    ):
        return f"{bare} is"
    apposition = _APPOSITION.fullmatch(rest)
    if apposition is not None:
        aside = apposition["aside"] or ""
        first = apposition["first"].lower()
        if first in _LINKS or first in _LASTING:
            return f"{aside} is {apposition['predicate']}"
        if is_participle(first):
            return f"{aside} was {apposition['predicate']}"
    return rest


def _after_question(text: str, subject: str, answer: str) -> str:
    """Make a statement of the clause after a question, with the subject in place of its pronoun.

    "What sport does {} play? They play" + "chess" gives "{} plays chess."
    """
    question, _, clause = text.rpartition("?")
    match = _PRONOUN.fullmatch(clause.strip())
    if match is None:
        return statement_of(question, subject, answer)
    verb = match["verb"]
    if match["pronoun"].lower() == "they":
        verb = third_person(verb)
    return sentence(f"{subject} {verb}{match['rest']} {answer}")
