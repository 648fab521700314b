"""Conversion of a question with its answer to a statement.

"Where was Ada born?" + "Rome" gives "Ada was born in Rome." Data sets of questions have no
statement to contradict, and the judge compares statements. The common forms of short factual
questions about a known subject are reordered. Other questions become 'The answer to "…?" is ….',
which is clumsy but grammatical and has the meaning of the row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from contraflow.facts.formats._verbs import is_participle, is_past, past, third_person
from contraflow.text.words import word_set

_OPENING = re.compile(
    r"(?:(?P<preposition>in|on|at|for|to|from|of|with|by|under|during|into) )?"
    r"(?P<wh>whom|who|what|which|where|when)\b\s*(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_BEFORE_SUBJECT = re.compile(
    r"(?P<noun>(?:\S+ ){0,4}?)(?P<aux>is|was|are|were|did|does|do|has|had|have)(?: (?P<lead>.*))?",
    re.IGNORECASE,
)
_PREPOSITIONS = word_set(
    "of in on at by for to from with as about into after under behind against through within over "
    "around"
)
# The last word before a subject that is not the subject of the clause ("the capital of SUBJECT").
_BEFORE_OBJECT = _PREPOSITIONS | {"that", "which", "who"}
_OPENS_NOUN_PHRASE = re.compile(r"(?:the|a|an|this|his|her|its|their)\b", re.IGNORECASE)
_TIMES = word_set("year date day month decade century time era season")
_PLACES = word_set("city country place town location state continent village region province")
# Verbs that take a place with "in" ("died in", but "visited").
_PLACED = word_set(
    "die live originate start begin end appear reside occur happen take stand lie sit"
)
_CLAUSE = re.compile(r"\b(?:when|while|because|if|that|who|which)\b")
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DAY = re.compile(
    rf"\d{{1,2}}(?:st|nd|rd|th)? (?:{_MONTHS})|(?:{_MONTHS}) \d{{1,2}}\b", re.IGNORECASE
)


@dataclass(frozen=True)
class _Parts:
    """The parts of "PREPOSITION WH NOUN AUX LEAD SUBJECT TAIL?", for example "In what city …"."""

    preposition: str
    wh: str
    noun: str
    aux: str
    # Between the auxiliary and the subject: "", "the", "the capital of".
    lead: str
    subject: str
    tail: str

    @property
    def whole_subject(self) -> str:
        return f"{self.lead} {self.subject}".strip()

    @property
    def last_noun(self) -> str:
        return self.noun.split()[-1].lower() if self.noun else ""


def sentence(text: str) -> str:
    """Return the text with single spaces, an initial capital and a full stop.

    A first word with a capital inside, such as "iPhone", keeps its spelling.
    """
    text = " ".join(text.split()).rstrip(" ,;:")
    first = text.split(" ", 1)[0]
    if first[:1].islower() and first == first.lower():
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!")) else f"{text}."


def statement_of(question: str, subject: str, answer: str) -> str:
    """Return the statement made by an answer to a question about a known subject."""
    bare = " ".join(question.split()).rstrip("? ")
    answer = answer.strip()
    statement = _reordered(bare, subject.strip(), answer)
    if statement is None:
        statement = f'The answer to "{bare}?" is {answer}'
    return sentence(statement)


def _reordered(question: str, subject: str, answer: str) -> str | None:
    """Return the statement without its full stop; None if the form of the question is unknown."""
    opening = _OPENING.fullmatch(question)
    if opening is None or not subject:
        return None
    rest = opening["rest"]
    start = rest.casefold().find(subject.casefold())
    # Case folding can change the length ("ß"); `start` is no index into `rest` then.
    if start < 0 or len(rest.casefold()) != len(rest):
        return None
    end = start + len(subject)
    before = rest[:start].strip()
    match = _BEFORE_SUBJECT.fullmatch(before)
    if match is None:
        return None if opening["preposition"] else _answer_first(before, rest[start:], answer)
    parts = _Parts(
        preposition=(opening["preposition"] or "").lower(),
        wh=opening["wh"].lower(),
        noun=match["noun"].strip(),
        aux=match["aux"].lower(),
        lead=match["lead"] or "",
        subject=rest[start:end],
        tail=rest[end:],
    )
    if parts.aux in ("did", "does", "do"):
        return _with_do(parts, answer)
    return _with_be(parts, answer)


def _answer_first(before: str, rest: str, answer: str) -> str | None:
    """Replace the words before a past verb by the answer: "Who wrote …", "What artist made …"."""
    words = before.split()
    for position, word in enumerate(words[:5]):
        if is_past(word):
            return f"{answer} {' '.join(words[position:])} {rest}"
    return None


def _with_be(parts: _Parts, answer: str) -> str | None:
    """Reorder a question with a form of "be" or "have" before its subject."""
    subject = parts.whole_subject
    lead = parts.lead
    has_tail = bool(parts.tail.strip())
    is_bare = not parts.noun and not parts.preposition
    # "Who is known for …"
    if lead and not _OPENS_NOUN_PHRASE.match(lead) and "'s" not in lead:
        is_passive = is_bare and is_participle(lead.split()[0].lower())
        return f"{answer} {parts.aux} {lead} {parts.subject}{parts.tail}" if is_passive else None
    is_possessive = parts.tail.startswith(("'s ", "' ", "\u2019s "))
    is_object = lead.rpartition(" ")[2].lower() in _BEFORE_OBJECT
    asks_identity = is_bare and parts.wh in ("who", "what", "which")
    # "What is the capital of …"
    if asks_identity and (is_possessive or is_object or not has_tail):
        return f"{subject}{parts.tail} {parts.aux} {answer}"
    if is_possessive or is_object:
        return None
    # "What gender is …"
    if parts.noun and not has_tail and not parts.preposition and parts.last_noun not in _TIMES:
        return f"the {parts.noun} of {subject} {parts.aux} {answer}"
    link = _link(parts, parts.tail, answer)
    if link is None and parts.aux not in ("has", "had", "have"):
        return None
    return f"{subject} {parts.aux} {parts.tail.strip()} {link or ''} {answer}"


def _with_do(parts: _Parts, answer: str) -> str | None:
    """Reorder a question with a form of "do" before its subject; the main verb becomes finite."""
    # "What city did X live in when he died?": the position of the answer is ambiguous.
    if _CLAUSE.search(parts.tail):
        return None
    words = parts.tail.split()
    adverbs = []
    while words and (words[0].endswith("ly") or words[0] in ("first", "last", "also")):
        adverbs.append(words.pop(0))
    if not words or not words[0].islower():
        return None
    if parts.lead and not _OPENS_NOUN_PHRASE.match(parts.lead):
        return None
    verb = words[0]
    tail = " ".join(words[1:])
    finite = {"did": past, "does": third_person}.get(parts.aux, str)(verb)
    clause = " ".join([parts.whole_subject, *adverbs, finite])
    takes_link = parts.last_noun not in _PLACES or verb in _PLACED
    link = _link(parts, f"{verb} {tail}" if takes_link else tail, answer)
    if link is not None:
        return f"{clause} {tail} {link} {answer}"
    if parts.wh in ("where", "when"):
        return None
    if parts.last_noun in ("role", "position"):
        answer = f"the {parts.last_noun} of {answer}"
    return f"{clause} {answer} {tail}"


def _link(parts: _Parts, tail: str, answer: str) -> str | None:
    """Return the preposition between predicate and answer.

    "" if the predicate ends in one already, None if no preposition fits.
    """
    words = tail.split()
    if parts.preposition:
        return parts.preposition
    if words and words[-1].lower() in _PREPOSITIONS:
        return ""
    if parts.wh == "when" or parts.last_noun in _TIMES:
        return "on" if _DAY.search(answer) else "in"
    if parts.wh == "where" or (parts.last_noun in _PLACES and words):
        return "in"
    return None
