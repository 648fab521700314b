"""A prompt left open and its answer as one statement: "The capital of {} is" + "Lyon".

Most prompts need nothing but the answer and a full stop. Those that were written for a language
model to go on with are no sentences even then ("Danielle Darrieux, who speaks" + "English"), and
get the verb they lack.
"""

from __future__ import annotations

import re

from contraflow.facts.formats._questions import sentence, statement_of
from contraflow.facts.formats._verbs import is_participle, third_person

_PARENTHESIS = r"(?P<aside> \([^)]*\))?"
_RELATIVE = re.compile(_PARENTHESIS + r",? (?:which|who|that) (?P<said>.+)", re.DOTALL)
_APPOSITION = re.compile(_PARENTHESIS + r", (?P<said>(?P<first>[^\s,]+).*)", re.DOTALL)
_OWNED = re.compile(r"(?:'s|')(?: [\w-]+){1,3}")
_PRONOUN = re.compile(
    r"(?P<pronoun>it|he|she|they) (?P<verb>\w+)(?P<said>.*)", re.IGNORECASE | re.DOTALL
)
_LASTING = frozenset(
    [
        "located",
        "situated",
        "based",
        "headquartered",
        "known",
        "considered",
        "named",
        "called",
        "employed",
    ]
)
_LINKS = frozenset(["from", "in", "at", "of", "by", "on", "with", "a", "an", "the"])
_VERBS = frozenset(["is", "are", "was", "were", "has", "had", "plays", "speaks"])


def filled(prompt: str, subject: str) -> str:
    """The prompt with its subject in the place of {}."""
    return " ".join(prompt.replace("{}", subject).split())


def statement_of_cloze(prompt: str, subject: str, answer: str) -> str:
    """The statement that a prompt makes once it is answered; {} in it stands for the subject."""
    text, answer = filled(prompt, subject), answer.strip()
    if "?" in text:
        return _after_question(text, subject, answer)
    if text.startswith(subject):
        text = subject + _with_a_verb(text.removeprefix(subject))
    return sentence(f"{text} {answer}")


def _with_a_verb(rest: str) -> str:
    """What follows the subject, as a predicate."""
    relative = _RELATIVE.fullmatch(rest)
    if relative is not None:
        return f"{relative['aside'] or ''} {relative['said']}"
    bare = rest.rstrip(" ,")
    if (
        _OWNED.fullmatch(bare)
        and bare.split()[-1] not in _VERBS
        and (bare != rest or len(bare.split()) < 3)
    ):
        return f"{bare} is"  # "'s owner", "'s capital city,"
    apposition = _APPOSITION.fullmatch(rest)
    if apposition is not None:
        aside, said, first = (
            apposition["aside"] or "",
            apposition["said"],
            apposition["first"].lower(),
        )
        if first in _LINKS or first in _LASTING:
            return f"{aside} is {said}"
        if is_participle(first):
            return f"{aside} was {said}"
    return rest


def _after_question(text: str, subject: str, answer: str) -> str:
    """ "What sport does {} play? They play" + "chess": the clause after the question, about the
    subject.
    """
    question, _, clause = text.rpartition("?")
    match = _PRONOUN.fullmatch(clause.strip())
    if match is None:
        return statement_of(question, subject, answer)
    verb = match["verb"]
    if match["pronoun"].lower() == "they":
        verb = third_person(verb)
    return sentence(f"{subject} {verb}{match['said']} {answer}")
