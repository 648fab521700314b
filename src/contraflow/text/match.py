"""Does a text name an answer? One rule for the data checks, the reward's no-NLI test and the
evaluation.

The rule is strict about words and lenient about spelling: "Paris" is not named by "Parisian", but
"United States" is named by "the UNITED STATES' flag", "7" by "seven", "mammal" by "mammals", "José
Martí" by "Jose Marti".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
)
_TENS = {
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
}
_DIGITS_OF = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)} | {
    word: str(number) for word, number in _TENS.items()
}
_COMPOUND = re.compile(rf"\b({'|'.join(_TENS)})-({'|'.join(_NUMBER_WORDS[1:10])})\b", re.IGNORECASE)
_ARTICLES = ("the", "a", "an")
_UNDECOMPOSED = str.maketrans(
    {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "Ae", "đ": "d", "&": " and "}
)
_APOSTROPHES = str.maketrans(
    dict.fromkeys("\u2019\u2018`\u00b4", "'")
)  # curly quotes, typed accents
_INITIALS = re.compile(r"\b([^\W\d_])\.\s?(?=[^\W\d_](?:\.|\b))")  # U.S. -> US., J. K. -> JK.
_POSSESSIVE = re.compile(r"'s\b|(?<=s)'(?!\w)", re.IGNORECASE)
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|\b[a-z](?:\+\+|#)|[^\W_]+", re.IGNORECASE)


def normalize(text: str) -> str:
    """Case-folded words without accents, punctuation, possessives or a leading article, one space
    between.
    """
    return " ".join(_without_article(tuple(word.casefold() for word in words(text))))


@lru_cache(maxsize=16384)  # one answer is compared with many texts, and one text with many answers
def words(text: str) -> tuple[str, ...]:
    """The words of a text as `mentions` compares them, but with their case, which short symbols
    need.
    """
    text = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES).translate(_UNDECOMPOSED))
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = _COMPOUND.sub(_compound_digits, text)  # or "twenty-four" would name "twenty"
    text = _POSSESSIVE.sub("", _INITIALS.sub(r"\1", text)).replace("'", "")
    return tuple(_plain_number(token) for token in _TOKEN.findall(text))


def mentions(text: str, answer: str, aliases: Sequence[str] = ()) -> bool:
    """Whether the text contains the answer, or one of its aliases, as whole words.

    An empty answer is never named: it would be found everywhere.
    """
    text_words = words(text)
    return any(_mentions_one(text_words, candidate) for candidate in (answer, *aliases))


def same_answer(first: str, second: str) -> bool:
    """Whether two answers are spellings of one: each names the other ("the euro" and "Euros")."""
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
    """Whether all words agree; the last may differ by a plural ending.

    A capitalised answer has no singular: "Jobs" is not named by "a job".
    """
    if window[:-1] != answer[:-1]:
        return False
    found, wanted = _as_digits(window[-1]), _as_digits(answer[-1])
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
    """ "US" must not be found in "let us", nor "Fe" in "fe fi fo": such short answers keep their
    case.
    """
    return len(answer_words) == 1 and len(answer_words[0]) <= 2 and answer_words[0][0].isupper()


def _without_article(answer_words: tuple[str, ...]) -> tuple[str, ...]:
    """Drop one leading article, unless it is all there is ("A" is a blood group and a note)."""
    has_article = len(answer_words) > 1 and answer_words[0].casefold() in _ARTICLES
    return answer_words[1:] if has_article else answer_words


def _compound_digits(match: re.Match[str]) -> str:
    tens, units = match.group(1).casefold(), match.group(2).casefold()
    return str(_TENS[tens] + _NUMBER_WORDS.index(units))


def _as_digits(word: str) -> str:
    return _DIGITS_OF.get(word, word)


def _plain_number(token: str) -> str:
    """1,000 -> 1000; other tokens are left alone."""
    return token.replace(",", "") if token[0].isdigit() else token
