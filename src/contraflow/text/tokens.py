"""The words of a text in one spelling: accents, signs, currencies, number words, initials.

A number keeps its sign and what belongs to it (19th, 1990s, 3D), but not its unit. `words` keeps
number words, `numbered_words` and `tokens_of` write them in digits.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from contraflow.text.folding import (
    APOSTROPHES,
    HYPHENS,
    LETTERS,
    without_accents,
    without_invisible,
)
from contraflow.text.numbers import SIGN, plain_numbers, without_compounds, without_number_words
from contraflow.text.signs import SIGNS, WORD

_ARTICLES = ("the", "a", "an")
_SIGNS = str.maketrans(
    {"&": " and ", "♯": " sharp ", "♭": " flat ", "½": ".5", "¼": ".25", "¾": ".75"}
    | dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"')
)
_SUPERSCRIPT = re.compile(r"(?<=\d)(?=[\u207b\u2070\u00b9\u00b2\u00b3\u2074-\u2079])")
# U.S. -> US., J. K. -> JK.
_INITIALS = re.compile(rf"(?<![\w{SIGNS}])([^\W\d_])\.\s?(?=[^\W\d_](?:\.|(?![\w{SIGNS}])))")
_POSSESSIVE = re.compile(r"'s\b|(?<=s)'(?!\w)", re.IGNORECASE)
_WORLD_WARS = re.compile(r"\bWW ?(II|I|2|1)\b")

_CURRENCIES = {
    "$": "dollar",
    "€": "euro",
    "£": "pound",
    "¥": "yen",
    "₩": "won",
    "₹": "rupee",
    "₽": "ruble",
    "₺": "lira",
    "₴": "hryvnia",
    "₪": "shekel",
    "₫": "dong",
    "₱": "peso",
    "₦": "naira",
    "฿": "baht",
    "¢": "cent",
}
_SYMBOLS = re.escape("".join(_CURRENCIES))
_AMOUNT = re.compile(
    rf"(-?)([{_SYMBOLS}]) ?(-?)(\d[\d.,]*\d|\d)"
    r"(?:( (?:hundred|thousand|million|billion|trillion)| ?(?:bn|[mk]))\b)?",
    re.IGNORECASE,
)
_SHORT_SCALES = {"bn": " billion", "m": " million", "k": " thousand"}
_SYMBOL_ALONE = re.compile(rf"(?<![^\W\d_])[{_SYMBOLS}](?![^\W\d_])")
_PERCENT = re.compile(r"(?<=\d) ?%|(?<=\d) per cent\b")
# A hyphen before a number is a sign, unless it joins two words or two numbers.
_MINUS_SIGN = re.compile(r"(?:^|(?<=[\s(\[\"'=~:/,]))-(?=\.?\d)")
_SPACED_THOUSANDS = re.compile(r"(?<![\w.,-])[1-9]\d{0,2}(?: \d{3})+(?![\w-]|[.,]\d)")

_NUMBER = (
    r"\d{1,2}(?:[:/]\d{1,4})+(?![\w:/])"  # 10:30, 2/3, 1/2/2020
    rf"|{SIGN}?\d+(?:[.,]\d+)*"
)
_UNITS = (
    "km|cm|mm|nm|m|kg|mg|g|lb|ft|in|mi|ml|l|h|min|ms|mph|kmh|am|pm|bn|k|V|W|kW|MW|GW|Hz|kHz|MHz|GHz"
    "|MB|GB|TB|J|kJ|N|Pa|K|C|F"
)
_TOKEN = re.compile(
    # A number with what belongs to it (19th, 1990s, 3D), but without its unit (5 km).
    rf"(?P<number>{_NUMBER})(?:(?=(?:{_UNITS})\b)|(?P<ending>\^-?\d+|(?!\d){WORD})?)"
    # Grades, blood groups and ions: A+, AB-, Na+, C++, F#.
    r"|\b(?:[A-Z][A-Za-z]?\d?|[a-z])(?:\+\+|\#)"
    r"|\b[A-Z][A-Za-z]?\d?\+(?!\w)"
    r"|\b(?:[A-Z]|AB|[A-Z][a-z])\d?-(?![\w-])"
    rf"|{WORD}",
)


class Token(NamedTuple):
    word: str
    folded: str
    opens_sentence: bool
    # A hyphen joins it to the next word of the same name: Guinea-Bissau.
    is_joined: bool


def normalize(text: str) -> str:
    """Return the case-folded words of a text, joined by single spaces.

    Accents, punctuation, possessive endings and a leading article are removed.
    """
    folded = [word.casefold() for word in words(text)]
    return " ".join(folded[_n_articles(folded) :])


# An answer is compared with many texts, and a text with many answers.
@lru_cache(maxsize=16384)
def words(text: str) -> tuple[str, ...]:
    """Return the words of a text in their original case, which symbols need.

    Numbers keep their sign, a currency symbol becomes a word behind its number.
    """
    return tuple(word for word, _ in _split(without_compounds(_plain(text))))


@lru_cache(maxsize=16384)
def numbered_words(text: str) -> tuple[str, ...]:
    """Return the words of a text, with all its number words in digits."""
    return tuple(token.word for token in tokens_of(text))


@lru_cache(maxsize=16384)
def tokens_of(text: str) -> tuple[Token, ...]:
    """Return the words of a text, with all its number words in digits, and how they stand in it."""
    text = without_number_words(_plain(text))
    tokens = []
    for word, match in _split(text):
        before = text[: match.start()].rstrip(' "(')
        after = text[match.end() : match.end() + 2]
        is_joined = after[:1] == "-" and after[1:].isupper() and word[0].isupper()
        opens_sentence = not before or before[-1] in ".!?:;\n"
        tokens.append(Token(word, word.casefold(), opens_sentence, is_joined))
    return tuple(tokens)


def without_article(tokens: Sequence[Token]) -> Sequence[Token]:
    """Return tokens without a leading article that is not the only word."""
    return tokens[_n_articles([token.folded for token in tokens]) :]


@lru_cache(maxsize=16384)
def _plain(text: str) -> str:
    """Return the text without accents and possessives, with one form of signs and currencies."""
    # Canonical first: accents are apart from letters, superscripts and fractions stay.
    text = unicodedata.normalize("NFD", without_invisible(text))
    text = text.translate(APOSTROPHES).translate(LETTERS).translate(_SIGNS)
    text = unicodedata.normalize("NFKD", _SUPERSCRIPT.sub("^", text)).translate(HYPHENS)
    text = text.replace("\u2044", "/")
    if not text.isascii():
        text = without_accents(text)
    text = _AMOUNT.sub(_amount_words, text)
    text = _SYMBOL_ALONE.sub(lambda match: f" {_CURRENCIES[match[0]]} ", text)
    text = _PERCENT.sub(" percent ", text)
    text = _MINUS_SIGN.sub(_sign, text)
    text = re.sub(rf"(?<![\w.])({SIGN}?)\.(?=\d)", r"\g<1>0.", text)
    text = _SPACED_THOUSANDS.sub(lambda match: match[0].replace(" ", ""), text)
    text = _WORLD_WARS.sub(r"World War \1", text)
    return _POSSESSIVE.sub("", _INITIALS.sub(r"\1", text)).replace("'", "")


def _amount_words(match: re.Match[str]) -> str:
    """Return "5 million dollar" for "$5 million", with a sign from either side of the symbol."""
    sign = match[1] or match[3]
    before = match.string[: match.start()].rstrip()[-1:]
    if match[1] and (before.isdigit() or match.string[match.start() - 1 : match.start()].isalnum()):
        sign = ""
    scale = (match[5] or "").lower()
    scale = _SHORT_SCALES.get(scale.strip(), scale)
    return f" {sign}{match[4]}{scale} {_CURRENCIES[match[2]]} "


def _sign(match: re.Match[str]) -> str:
    is_range = match.string[: match.start()].rstrip()[-1:].isdigit()
    return "-" if is_range else SIGN


def _split(text: str) -> list[tuple[str, re.Match[str]]]:
    """Split plain text into words, each with the match that it comes from."""
    found = []
    for match in _TOKEN.finditer(text):
        number = match["number"]
        if number is None:
            parts = [match[0].replace(SIGN, "-")]
        elif match["ending"]:
            *others, last = plain_numbers(number)
            parts = [*others, last + match["ending"]]
        else:
            parts = plain_numbers(number)
        found += [(part, match) for part in parts]
    return found


def _n_articles(folded: Sequence[str]) -> int:
    """Return 1 for a leading article that is not the only word ("A" is a blood group), else 0."""
    return int(len(folded) > 1 and folded[0] in _ARTICLES)
