"""Whether a question is about a subject."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contraflow.text.match import mentions, names_another
from contraflow.text.numbers import number_value, roman_value
from contraflow.text.tokens import numbered_words, words
from contraflow.text.words import (
    AUXILIARIES,
    FUNCTION_WORDS,
    PREPOSITIONS,
    SHARED_TYPE_WORDS,
    WH_WORDS,
    stem,
    word_set,
)

# Words at the end of a name that people leave out; not those of things named after a place, such
# as a bridge: London Bridge is not London.
_LEFT_OUT = word_set(
    "national park mount mountain mountains river lake ocean desert falls canyon volcano glacier "
    "company corporation group inc ltd chicken soup salad sauce curry rice noodles stew pie cake "
    "bread"
)
_PARTICLES = word_set("van von der den de da di du la le el bin ibn al")
_MIN_SHORT_LETTERS = 4
_TITLES = word_set(
    "mr mrs ms dr prof professor doctor sir lord lady dame saint st pope king queen prince "
    "princess emperor president chancellor minister general captain inventor author writer poet "
    "playwright painter artist composer singer actor director scientist physicist chemist "
    "mathematician philosopher explorer"
)
_MAY_PRECEDE = _TITLES | FUNCTION_WORDS | AUXILIARIES | PREPOSITIONS | WH_WORDS


def is_on_subject(question: str, subject: str) -> bool:
    """Whether the question names the subject.

    It must contain all of one or two content words of the subject, and a majority of three or more.
    Whole words are compared, without accents, case and plural endings ("a spider", "spiders").
    Every number of the subject must appear, as "II", "2", "two" or "second": World War I is not
    World War II. A subject that stands only in another name ("New Mexico") is not named.
    """
    subject_words = numbered_words(subject)
    asked = numbered_words(question)
    numerals = {word for i, word in enumerate(subject_words) if _is_numeral(subject_words, i)}
    names = {word.casefold() for word in subject_words if word not in numerals}
    stems = {stem(word) for word in names - FUNCTION_WORDS or names}
    n_words = len(stems) + len(numerals)
    n_required = n_words if n_words <= 2 else n_words // 2 + 1
    n_named = len(numerals) + len(stems & {stem(word) for word in asked})
    return (
        n_words > 0
        and n_named >= n_required
        and all(_names_number(asked, numeral, stems, numerals) for numeral in numerals)
        and not names_another(question, subject)
    )


def short_names(subject: str) -> tuple[str, ...]:
    """Return the shorter names that people give a subject, by rule.

    Its name without the kind of thing ("Banff" for "Banff National Park", "Everest" for "Mount
    Everest"), or the last name of a person ("Einstein"). None for a subject with a number or a
    function word in it, nor where the rest is another thing ("Africa" for "South Africa").
    """
    parts = words(subject)
    numbered = numbered_words(subject)
    has_numeral = any(_is_numeral(numbered, i) for i in range(len(numbered)))
    if len(parts) < 2 or has_numeral or {part.casefold() for part in parts} & FUNCTION_WORDS:
        return ()
    kept = [part for part in parts if part.casefold() not in _LEFT_OUT]
    if len(kept) < len(parts):
        short = " ".join(kept)
    else:
        short = parts[-1] if _is_like_a_person(parts) else ""
    return (short,) if _may_stand_alone(short, subject) else ()


def names_namesake(question: str, short: str, subject: str) -> bool:
    """Whether the short name of a person stands behind another first name only.

    "Claire Monet" is not Claude Monet; "Professor Einstein" and "Einstein" are Albert Einstein.
    """
    parts = words(subject)
    if not parts or short != parts[-1]:
        return False
    asked = words(question)
    before = [asked[i - 1] for i, word in enumerate(asked) if i and word == short]
    return (
        bool(before)
        and len(before) == asked.count(short)
        and all(
            word[0].isupper() and word not in parts and word.casefold() not in _MAY_PRECEDE
            for word in before
        )
    )


def _is_like_a_person(parts: Sequence[str]) -> bool:
    """Whether a name has two or more capitalized words and no word for a kind of thing."""
    kinds = {stem(word) for word in SHARED_TYPE_WORDS}
    return all(
        part.casefold() in _PARTICLES or (part[0].isupper() and stem(part) not in kinds)
        for part in parts
    )


def _may_stand_alone(short: str, subject: str) -> bool:
    """Whether a part of a subject is long enough for a name and is no other thing's name."""
    return len(short) >= _MIN_SHORT_LETTERS and mentions(subject, short)


def _is_numeral(name: Sequence[str], position: int) -> bool:
    """Whether a word of a name is a number, or a Roman numeral that is not its first word."""
    word = name[position]
    if any(char.isdigit() for char in word):
        return True
    is_long_enough = len(word) > 1 or position > 0
    return is_long_enough and roman_value(word) is not None


def _names_number(asked: Sequence[str], numeral: str, stems: set[str], numerals: set[str]) -> bool:
    """Whether a question contains a number of its subject.

    A number below a hundred must stand beside another word of the subject: "two" in "Which two
    armies fought in World War I?" is not that of World War II.
    """
    value = _whole_number(numeral)
    may_stand_alone = value is None or value >= 100 or not (stems or numerals - {numeral})
    for position, word in enumerate(asked):
        is_same = word.casefold() == numeral.casefold()
        if not is_same and (value is None or _whole_number(word) != value):
            continue
        before = _nearest(reversed(asked[:position]), stems)
        after = _nearest(asked[position + 1 :], stems)
        others = stems | {other.casefold() for other in numerals}
        if may_stand_alone or others & {stem(before), stem(after)}:
            return True
    return False


def _nearest(asked: Iterable[str], stems: set[str]) -> str:
    """Return the first word that is of the subject or is no function word."""
    for word in asked:
        if stem(word) in stems or word.casefold() not in FUNCTION_WORDS:
            return word
    return ""


def _whole_number(word: str) -> int | None:
    value = number_value(word)
    return roman_value(word.upper()) if value is None and word.isupper() else value
