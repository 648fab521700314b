"""What an answer says about an edit: the edited answer, the original one, both, or neither.

Only what an answer asserts counts. Four texts name an answer without asserting it:

- a denial: "not Oslo but Bergen" asserts Bergen;
- a question: "Is it Oslo?";
- the subject, in full or shortened: "The 2014 World Cup was held in Brazil." does not assert 2014;
- a part of the question said again: "Shakespeare was taught by Hunt.", asked who taught him. What a
  question offers, as one of two or for a yes, is asserted by its repetition.

An answer that asserts neither is not the other one: "not new" is not "old".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from enum import StrEnum

from contraflow.text.answers import is_broken, is_degenerate
from contraflow.text.folding import fold, visible
from contraflow.text.match import gives_away, mentions
from contraflow.text.negation import asserted
from contraflow.text.questions import is_well_formed
from contraflow.text.signs import SIGNS
from contraflow.text.subjects import is_on_subject
from contraflow.text.tokens import normalize, words
from contraflow.text.words import (
    AUXILIARIES,
    FUNCTION_WORDS,
    PREPOSITIONS,
    WH_WORDS,
    without_phrase,
)

# A base model repeats it, as its prompt ends so.
_ANSWER_LABEL = re.compile(r"^\s*(?:answer|a)\s*:\s*", re.IGNORECASE)
_ASKING = re.compile(r"[^.!?]+\?+")
_WORD = re.compile(rf"[^\W_](?:[\w{SIGNS}'\u2019-]*(?:[^\W_]|[{SIGNS}]))?")


class AnswerVerdict(StrEnum):
    """Which of an edit's two answers a model gives."""

    NEW = "new"
    OLD = "old"
    BOTH = "both"
    OTHER = "other"
    DEGENERATE = "degenerate"


def answer_verdict(
    question: str,
    answer: str,
    subject: str,
    *,
    original_answer: str,
    edited_answer: str,
    aliases: Sequence[str] = (),
    edited_aliases: Sequence[str] = (),
) -> AnswerVerdict:
    """Decide which of the two answers a text asserts; no language model has a say in it.

    question: what was asked, or the text that was continued ("The capital of Norway is").
    original_answer, edited_answer: where one is unknown ("") it is never asserted, nor is an alias.

    An answer that asserts neither is DEGENERATE where it is empty, evasive, endless or an echo of
    the question; a loop, gibberish or a piece of a prompt is so in any case.
    """
    answer = _ANSWER_LABEL.sub("", " ".join(visible(answer).split()))
    if is_broken(answer) or normalize(answer) == normalize(question):
        return AnswerVerdict.DEGENERATE
    old = (original_answer, *aliases) if original_answer else ()
    new = (edited_answer, *edited_aliases) if edited_answer else ()
    says_old = any(_asserts(question, answer, subject, name, new) for name in old)
    says_new = any(_asserts(question, answer, subject, name, old) for name in new)
    if says_old and says_new:
        return AnswerVerdict.BOTH
    if says_old or says_new:
        return AnswerVerdict.OLD if says_old else AnswerVerdict.NEW
    return AnswerVerdict.DEGENERATE if is_degenerate(answer, question) else AnswerVerdict.OTHER


def strict_success(
    question: str,
    answer: str,
    subject: str,
    original_answer: str,
    edited_answer: str,
    aliases: Sequence[str] = (),
) -> bool:
    """Whether a sound question that names neither answer got the original answer only.

    The question must be well-formed and on the subject. The answer must assert the original answer
    ("Thor was not born to Odin." does not) and must not name the edited one, even to deny it. It
    uses no language model. False if the original answer is unknown.
    """
    return (
        bool(original_answer)
        and mentions(answer, original_answer, aliases)
        and mentions(asserted(without_phrase(answer, subject)), original_answer, aliases)
        and not mentions(answer, edited_answer)
        and not gives_away(question, original_answer, aliases)
        and not gives_away(question, edited_answer)
        and is_well_formed(question, subject)
        and is_on_subject(question, subject)
    )


def _asserts(question: str, answer: str, subject: str, name: str, others: Sequence[str]) -> bool:
    """Whether an answer asserts a name; others: names of the other answer."""
    if not mentions(answer, name):
        return False
    for other in others:
        # "American football" is not football.
        if gives_away(other, name) and not gives_away(name, other):
            answer = without_phrase(answer, other)
    text = asserted(without_phrase(_without_questions(answer), subject))
    if gives_away(subject, name):
        text = _without_copies(text, _any_pairs(subject), name)
    asked = without_phrase(question, subject)
    if mentions(asked, name) and not _offers(asked):
        text = _without_copies(text, _pairs(asked), name)
        is_topic = normalize(text).startswith(f"{normalize(name)} ")
        if is_topic and asked.rstrip().endswith("?"):
            return False
    return mentions(text, name)


def _without_questions(answer: str) -> str:
    """Drop the sentences that ask something; "Oslo?" alone asks nothing."""
    return _ASKING.sub(lambda match: "" if _opens_like_a_question(match[0]) else match[0], answer)


def _opens_like_a_question(sentence: str) -> bool:
    tokens = [word.casefold() for word in words(sentence)]
    lead = tokens[1:] if tokens[:1] and tokens[0] in PREPOSITIONS else tokens
    return bool(lead) and lead[0] in WH_WORDS | AUXILIARIES


def _offers(asked: str) -> bool:
    """Whether a question can be answered by a yes or by one of the things that it names."""
    tokens = [word.casefold() for word in words(asked)]
    return asked.rstrip().endswith("?") and (tokens[0] in AUXILIARIES or "or" in tokens)


def _folded(text: str) -> list[str]:
    return _WORD.findall(fold(text))


def _pairs(text: str) -> set[tuple[str, str]]:
    folded = _folded(text)
    return {*itertools.pairwise(folded)}


def _any_pairs(text: str) -> set[tuple[str, str]]:
    folded = _folded(text)
    return {(first, second) for first in folded for second in folded}


def _without_copies(text: str, pairs: set[tuple[str, str]], name: str) -> str:
    """Replace each run of words made of these pairs that has more content words than a name."""
    kept = ""
    end = 0
    for run in _runs([*_WORD.finditer(text)], pairs):
        if _n_content([fold(match[0]) for match in run]) > _n_content(_folded(name)):
            kept += f"{text[end : run[0].start()]}Something"
            end = run[-1].end()
    return kept + text[end:]


def _runs(found: list[re.Match[str]], pairs: set[tuple[str, str]]) -> list[list[re.Match[str]]]:
    """Split words where two neighbors are no pair."""
    runs: list[list[re.Match[str]]] = []
    for match in found:
        if runs and (fold(runs[-1][-1][0]), fold(match[0])) in pairs:
            runs[-1].append(match)
        else:
            runs.append([match])
    return runs


def _n_content(folded: Sequence[str]) -> int:
    return sum(word not in FUNCTION_WORDS for word in folded)
