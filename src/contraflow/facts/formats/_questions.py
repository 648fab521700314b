"""A question and its answer as one statement: "Where was Ada born?" + "Rome" -> "Ada was born in
Rome."

Data sets of questions have no statement to contradict, and a judge compares statements. The common
forms of short factual questions are turned round, the subject being known; whatever is not
recognised becomes 'The answer to "…?" is ….', which is stiff but true to the row and grammatical.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from contraflow.facts.formats._verbs import is_participle, is_past, past, third_person

_OPENING = re.compile(
    r"(?:(?P<preposition>in|on|at|for|to|from|of|with|by|under|during|into) )?"
    r"(?P<wh>whom|who|what|which|where|when)\b\s*(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_BEFORE_SUBJECT = re.compile(
    r"(?P<noun>(?:\S+ ){0,4}?)(?P<aux>is|was|are|were|did|does|do|has|had|have)(?: (?P<lead>.*))?",
    re.IGNORECASE,
)
_PREPOSITIONS = frozenset(
    [
        "of",
        "in",
        "on",
        "at",
        "by",
        "for",
        "to",
        "from",
        "with",
        "as",
        "about",
        "into",
        "after",
        "under",
        "behind",
        "against",
        "through",
        "within",
        "over",
        "around",
    ]
)
_OPENS_NOUN_PHRASE = re.compile(r"(?:the|a|an|this|his|her|its|their)\b", re.IGNORECASE)
_TIMES = frozenset(["year", "date", "day", "month", "decade", "century", "time", "era", "season"])
_PLACES = frozenset(
    [
        "city",
        "country",
        "place",
        "town",
        "location",
        "state",
        "continent",
        "village",
        "region",
        "province",
    ]
)
_PLACED = frozenset(
    [
        "die",
        "live",
        "originate",
        "start",
        "begin",
        "end",
        "appear",
        "reside",
        "occur",
        "happen",
        "take",
        "stand",
        "lie",
        "sit",
    ]
)
_CLAUSE = re.compile(r"\b(?:when|while|because|if|that|who|which)\b")
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DAY = re.compile(
    rf"\d{{1,2}}(?:st|nd|rd|th)? (?:{_MONTHS})|(?:{_MONTHS}) \d{{1,2}}\b", re.IGNORECASE
)


@dataclass(frozen=True)
class _Parts:
    """A question around its subject: "In what NOUN AUX LEAD subject TAIL?"."""

    preposition: str
    wh: str
    noun: str
    aux: str
    lead: str  # between the auxiliary and the subject: "", "the", "the capital of"
    subject: str
    tail: str

    @property
    def whole_subject(self) -> str:
        return f"{self.lead} {self.subject}".strip()

    @property
    def last_noun(self) -> str:
        return self.noun.split()[-1].lower() if self.noun else ""


def sentence(text: str) -> str:
    """One space between words, a capital first and a full stop last ("iPhone" keeps its own
    spelling).
    """
    text = " ".join(text.split()).rstrip(" ,;:")
    first = text.split(" ", 1)[0]
    if first[:1].islower() and first == first.lower():
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!")) else f"{text}."


def statement_of(question: str, subject: str, answer: str) -> str:
    """The statement that an answer to a question about a known subject makes."""
    bare = " ".join(question.split()).rstrip("? ")
    answer = answer.strip()
    turned = _turned(bare, subject.strip(), answer)
    return sentence(turned if turned is not None else f'The answer to "{bare}?" is {answer}')


def _turned(question: str, subject: str, answer: str) -> str | None:
    opening = _OPENING.fullmatch(question)
    if opening is None or not subject:
        return None
    rest = opening["rest"]
    at = rest.casefold().find(subject.casefold())
    if at < 0 or len(rest.casefold()) != len(rest):
        return None
    before, own, tail = rest[:at].strip(), rest[at : at + len(subject)], rest[at + len(subject) :]
    match = _BEFORE_SUBJECT.fullmatch(before)
    if match is None:
        return (
            None if opening["preposition"] else _asks_for_the_doer(before, f"{own}{tail}", answer)
        )
    parts = _Parts(
        (opening["preposition"] or "").lower(),
        opening["wh"].lower(),
        match["noun"].strip(),
        match["aux"].lower(),
        match["lead"] or "",
        own,
        tail,
    )
    if parts.aux in ("did", "does", "do"):
        return _with_do(parts, answer)
    return _with_be(parts, answer)


def _asks_for_the_doer(before: str, rest: str, answer: str) -> str | None:
    """ "Who wrote …", "What artist created …": the answer takes the place of the question words."""
    words = before.split()
    for position, word in enumerate(words[:5]):
        if is_past(word):
            return f"{answer} {' '.join(words[position:])} {rest}"
    return None


def _with_be(p: _Parts, answer: str) -> str | None:
    if p.lead and not _OPENS_NOUN_PHRASE.match(p.lead) and "'s" not in p.lead:
        doer = not p.noun and not p.preposition and is_participle(p.lead.split()[0].lower())
        return (
            f"{answer} {p.aux} {p.lead} {p.subject}{p.tail}" if doer else None
        )  # "Who is known for …"
    asks_what = p.wh in ("who", "what", "which") and not p.noun and not p.preposition
    possessive = p.tail.startswith(("'s ", "' ", "\u2019s "))
    of_subject = p.lead.rpartition(" ")[2].lower() in _PREPOSITIONS | {"that", "which", "who"}
    if asks_what and (possessive or of_subject or not p.tail.strip()):
        return f"{p.whole_subject}{p.tail} {p.aux} {answer}"  # "What is the capital of …"
    if possessive or of_subject:
        return None
    if p.noun and not p.tail.strip() and not p.preposition and p.last_noun not in _TIMES:
        return f"the {p.noun} of {p.whole_subject} {p.aux} {answer}"  # "What gender is …"
    link = _link(p, p.tail, answer)
    if link is None and p.aux not in ("has", "had", "have"):
        return None
    return f"{p.whole_subject} {p.aux} {p.tail.strip()} {link or ''} {answer}"


def _with_do(p: _Parts, answer: str) -> str | None:
    words = p.tail.split()
    if _CLAUSE.search(
        p.tail
    ):  # "What city did X live in when he died?": no telling where the answer goes
        return None
    adverbs = []
    while words and (words[0].endswith("ly") or words[0] in ("first", "last", "also")):
        adverbs.append(words.pop(0))
    if not words or not words[0].islower() or (p.lead and not _OPENS_NOUN_PHRASE.match(p.lead)):
        return None
    verb, tail = words[0], " ".join(words[1:])
    finite = {"did": past, "does": third_person}.get(p.aux, str)(verb)
    clause = " ".join([p.whole_subject, *adverbs, finite])
    link = _link(
        p, f"{verb} {tail}" if p.last_noun not in _PLACES or verb in _PLACED else tail, answer
    )
    if link is not None:
        return f"{clause} {tail} {link} {answer}"
    if p.wh in ("where", "when"):
        return None
    if p.last_noun in ("role", "position"):
        answer = f"the {p.last_noun} of {answer}"
    return f"{clause} {answer} {tail}"


def _link(p: _Parts, tail: str, answer: str) -> str | None:
    """The preposition between what is said of the subject and the answer; "" where it stands there
    already.
    """
    words = tail.split()
    if p.preposition:
        return p.preposition
    if words and words[-1].lower() in _PREPOSITIONS:
        return ""
    if p.wh == "when" or p.last_noun in _TIMES:
        return "on" if _DAY.search(answer) else "in"
    if p.wh == "where" or (p.last_noun in _PLACES and words):
        return "in"
    return None
