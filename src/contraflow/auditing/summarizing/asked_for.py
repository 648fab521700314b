"""What kind of thing a question asks for: a person, a place, a time, or the noun after its "what".

An encoder of sentences sees the names of a question before its question word: "Who founded Apple?"
and "When was Apple founded?" are near. So modes are told apart by this too.
"""

from __future__ import annotations

import re

from contraflow.text.signs import WORD
from contraflow.text.words import AUXILIARIES, FUNCTION_WORDS, stem, without_phrase, word_set

MASK = "this"
_WORD = re.compile(WORD)
_POSSESSIVE = re.compile(r"['’]s\b", re.IGNORECASE)
_SKIPPED = FUNCTION_WORDS | AUXILIARIES | {"s", "home"}
_TIMES = word_set("year date day time")
_PLACES = word_set("location place")
_PEOPLE = re.compile(
    r"(er|or|ist|man|woman|person|people|chief|head|executive|president|king|queen)$"
)
_NO_PEOPLE = word_set(
    "number river order center letter paper power color member currency character"
)


def masked(text: str, subject: str) -> str:
    """The text with its subject replaced, in any spelling: it is the same in all questions."""
    return without_phrase(text, subject, MASK) if subject.strip() else text


def asked_for(text: str, subject: str = "") -> str:
    """`who`, `when`, `where`, `why`, `how`, `what` with the stem of its noun, or `other`.

    Its first question word decides, and "Which author", "What year" and "What is the location" are
    who, when and where.
    """
    words: list[str] = _WORD.findall(_POSSESSIVE.sub(" s", masked(text, subject)).casefold())
    for position, word in enumerate(words):
        if word in ("who", "whom", "whose"):
            return "who"
        if word in ("when", "where", "why", "how"):
            return word
        if word in ("what", "which"):
            return _of_noun(words[position + 1 :])
    return "other"


def _of_noun(rest: list[str]) -> str:
    noun = next((word for word in rest if word not in _SKIPPED), "")
    if noun in _TIMES:
        return "when"
    if noun in _PLACES:
        return "where"
    if _PEOPLE.search(noun) and noun not in _NO_PEOPLE:
        return "who"
    return f"what {stem(noun)}".strip()
