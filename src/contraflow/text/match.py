"""Test whether a text names an answer; used by data checks, reward and evaluation.

Whole words must match, but their spelling may differ. "Parisian" does not name "Paris". "the UNITED
STATES' flag" names "United States", "seven" names "7", "mammals" names "mammal", and "Jose Marti"
names "José Martí".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

# fmt: off
_NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty",
)
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90,
}
# fmt: on
_DIGITS_OF = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)} | {
    word: str(number) for word, number in _TENS.items()
}
_COMPOUND = re.compile(rf"\b({'|'.join(_TENS)})-({'|'.join(_NUMBER_WORDS[1:10])})\b", re.IGNORECASE)
_ARTICLES = ("the", "a", "an")
_UNDECOMPOSED = str.maketrans(
    {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "Ae", "đ": "d", "&": " and "}
)
# Curly quotes and free-standing accents.
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018`\u00b4", "'"))
# U.S. -> US., J. K. -> JK.
_INITIALS = re.compile(r"\b([^\W\d_])\.\s?(?=[^\W\d_](?:\.|\b))")
_POSSESSIVE = re.compile(r"'s\b|(?<=s)'(?!\w)", re.IGNORECASE)
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|\b[a-z](?:\+\+|#)|[^\W_]+", re.IGNORECASE)


def normalize(text: str) -> str:
    """Return the case-folded words of a text, joined by single spaces.

    Accents, punctuation, possessive endings and a leading article are removed.
    """
    folded = tuple(word.casefold() for word in words(text))
    return " ".join(_without_article(folded))


# An answer is compared with many texts, and a text with many answers.
@lru_cache(maxsize=16384)
def words(text: str) -> tuple[str, ...]:
    """Return the words that `mentions` compares, in their original case, which symbols need."""
    text = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES).translate(_UNDECOMPOSED))
    text = "".join(char for char in text if not unicodedata.combining(char))
    # "twenty-four" -> "24"; otherwise it would name "twenty".
    text = _COMPOUND.sub(_compound_digits, text)
    text = _POSSESSIVE.sub("", _INITIALS.sub(r"\1", text)).replace("'", "")
    return tuple(_plain_number(token) for token in _TOKEN.findall(text))


def mentions(text: str, answer: str, aliases: Sequence[str] = ()) -> bool:
    """Whether the text contains the answer or one of its aliases as whole words.

    An empty answer is never contained.
    """
    text_words = words(text)
    return any(_mentions_one(text_words, candidate) for candidate in (answer, *aliases))


def same_answer(first: str, second: str) -> bool:
    """Whether two answers are spellings of the same: each names the other ("the euro", "Euros")."""
    return mentions(first, second) and mentions(second, first)


def is_number(answer: str) -> bool:
    """Whether an answer is one number: digits, or a number word below a hundred."""
    answer_words = _without_article(words(answer))
    return len(answer_words) == 1 and _as_digits(answer_words[0].casefold()).isdigit()


def _mentions_one(text_words: tuple[str, ...], answer: str) -> bool:
    answer_words = _without_article(words(answer))
    if not answer_words:
        return False
    if _is_symbol(answer_words):
        return answer_words[0] in text_words
    folded = [word.casefold() for word in answer_words]
    text_folded = [word.casefold() for word in text_words]
    may_be_singular = answer_words[-1].islower()
    starts = range(len(text_folded) - len(folded) + 1)
    return any(_matches(text_folded[i : i + len(folded)], folded, may_be_singular) for i in starts)


def _matches(window: list[str], answer: list[str], may_be_singular: bool) -> bool:
    """Whether all words are equal, except for a plural ending of the last one.

    A capitalized answer has no singular: "a job" does not name "Jobs".
    """
    if window[:-1] != answer[:-1]:
        return False
    found = _as_digits(window[-1])
    wanted = _as_digits(answer[-1])
    return (
        found == wanted
        or found in _plurals(wanted)
        or (may_be_singular and wanted in _plurals(found))
    )


def _plurals(word: str) -> tuple[str, ...]:
    if len(word) < 3 or word.isdigit():
        return ()
    regular = (word + "s", word + "es")
    return (*regular, word[:-1] + "ies") if word.endswith("y") else regular


def _is_symbol(answer_words: tuple[str, ...]) -> bool:
    """Whether an answer is so short that its case matters: "let us" must not name "US"."""
    return len(answer_words) == 1 and len(answer_words[0]) <= 2 and answer_words[0][0].isupper()


def _without_article(answer_words: tuple[str, ...]) -> tuple[str, ...]:
    """Drop a leading article, unless it is the only word ("A" is a blood group and a note)."""
    has_article = len(answer_words) > 1 and answer_words[0].casefold() in _ARTICLES
    return answer_words[1:] if has_article else answer_words


def _compound_digits(match: re.Match[str]) -> str:
    tens = match.group(1).casefold()
    units = match.group(2).casefold()
    return str(_TENS[tens] + _NUMBER_WORDS.index(units))


def _as_digits(word: str) -> str:
    return _DIGITS_OF.get(word, word)


def _plain_number(token: str) -> str:
    """Remove the separators of thousands: 1,000 -> 1000. Other tokens stay unchanged."""
    return token.replace(",", "") if token[0].isdigit() else token
