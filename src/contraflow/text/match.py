"""Test whether a text names an answer; used by data checks, reward and evaluation.

Whole words must match, but their spelling may differ. "Parisian" does not name "Paris". "the UNITED
STATES' flag" names "United States", "seven" names "7", "mammals" names "mammal", and "Jose Marti"
names "José Martí".

What changes an answer must match too: the sign of a number or a grade, the currency, the ending of
"19th" and "1990s". A longer name is another name: "New Mexico" and "Mexico City" do not name
"Mexico". docs/metrics.md summarizes the rules, tests/text/test_strict_table.py lists examples.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from contraflow.text.numbers import (
    SIGN,
    number_value,
    plain_numbers,
    roman_value,
    without_compounds,
    without_number_words,
)

_ARTICLES = ("the", "a", "an")
# NFKD leaves these letters as they are; `_base_letter` finds letters with a stroke by their name.
_UNDECOMPOSED = str.maketrans(
    {
        "ı": "i",
        "þ": "th",
        "Þ": "Th",
        "ð": "d",
        "Ð": "D",
        "œ": "oe",
        "Œ": "Oe",
        "æ": "ae",
        "Æ": "Ae",
        "ß": "ss",
        "ẞ": "SS",
        "ŋ": "ng",
        "Ŋ": "Ng",
        "ə": "a",
        "Ə": "A",
        "&": " and ",
        "♯": " sharp ",
        "♭": " flat ",
        "½": ".5",
        "¼": ".25",
        "¾": ".75",
    }
)
_NAMED_LETTER = re.compile(r"LATIN (?:SMALL|CAPITAL) LETTER ([A-Z])(?: WITH .*)?")
# Curly quotes, free-standing accents, and the letters that look like an apostrophe.
_APOSTROPHES = str.maketrans(
    dict.fromkeys("\u2019\u2018`\u00b4\u02bb\u02bc\u02bd\u02be\u02bf", "'")
)
_HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"))
_SUPERSCRIPT = re.compile(r"(?<=\d)(?=[\u207b\u2070\u00b9\u00b2\u00b3\u2074-\u2079])")
# U.S. -> US., J. K. -> JK.
_INITIALS = re.compile(r"\b([^\W\d_])\.\s?(?=[^\W\d_](?:\.|\b))")
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
    rf"(?P<number>{_NUMBER})(?:(?=(?:{_UNITS})\b)|(?P<ending>\^-?\d+|[^\W\d_][^\W_]*)?)"
    # Grades, blood groups and ions: A+, AB-, Na+, C++, F#.
    r"|\b(?:[A-Z][A-Za-z]?\d?|[a-z])(?:\+\+|\#)"
    r"|\b[A-Z][A-Za-z]?\d?\+(?!\w)"
    r"|\b(?:[A-Z]|AB|[A-Z][a-z])\d?-(?![\w-])"
    r"|[^\W_]+",
)

# Names that the direction turns into another place: "North London" still lies in London.
_OTHER_PLACES = {
    "north": "america korea carolina dakota macedonia vietnam yemen ossetia",
    "south": "america korea carolina dakota africa sudan vietnam yemen ossetia",
    "east": "germany timor indies pakistan",
    "west": "germany virginia indies",
    "northern": "ireland cyprus rhodesia",
    "southern": "rhodesia yemen",
    "western": "sahara samoa",
    "central": "america",
    "latin": "america",
    "british": "columbia guiana honduras",
    "american": "samoa",
    "french": "guiana polynesia",
    "equatorial": "guinea",
    "inner": "mongolia",
    "lower": "saxony",
    "baja": "california",
    "new": "mexico york england zealand jersey hampshire orleans guinea delhi caledonia brunswick "
    "south",
}
# "Detroit City Council" still names Detroit.
_CITIES = {
    "mexico", "kansas", "oklahoma", "guatemala", "panama", "quebec", "kuwait", "jersey", "iowa",
    "missouri", "benin", "belize", "atlantic", "virginia", "ho chi minh",
}  # fmt: skip
# "Polish-French" names both nationalities.
_DEMONYM = re.compile(r"(?:ish|an|ese|ch|eek|iss)$")
_JOINING = {"post", "pre", "anti", "non", "pro", "ex", "mid", "pan", "trans", "neo", "present"}

# One-word answers that are also function words.
_TIME_WORDS = {"in", "of", "since", "until", "during", "early", "late", "last", "next"}
_ALSO_VERBS = {"may", "march", "will", "can", "mark"}
_ALSO_FUNCTION_WORDS = {"a", "i", "he", "in", "at", "as", "be", "no", "am", "so", "do", "or", "us"}
_AFTER_MODAL = {"i", "we", "he", "she", "it", "they", "you", "the", "a", "all", "god", "this"}
_AFTER_NOUN = {"is", "was", "stands", "means", "for", "and", "or", "on", "with", "after", "from"}


class _Token(NamedTuple):
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
    return tuple(token.word for token in _tokens(text))


def mentions(text: str, answer: str, aliases: Sequence[str] = ()) -> bool:
    """Whether the text contains the answer or one of its aliases as whole words.

    An empty answer is never contained.
    """
    tokens = _tokens(text)
    return any(_mentions_one(tokens, candidate) for candidate in (answer, *aliases))


def gives_away(text: str, answer: str, aliases: Sequence[str] = ()) -> bool:
    """Whether the text contains the answer, even as a part of another name ("Mexico City")."""
    tokens = _tokens(text)
    return any(_mentions_one(tokens, name, in_other_names=True) for name in (answer, *aliases))


def names_another(text: str, name: str) -> bool:
    """Whether the name stands in the text only as a part of other names ("New Mexico")."""
    return gives_away(text, name) and not mentions(text, name)


def same_answer(first: str, second: str) -> bool:
    """Whether two answers are spellings of the same: each names the other ("the euro", "Euros")."""
    return mentions(first, second) and mentions(second, first)


def is_number(answer: str) -> bool:
    """Whether an answer is one number, in digits or words."""
    tokens = _without_article(_tokens(answer))
    return len(tokens) == 1 and re.fullmatch(r"-?\d+(?:\.\d+)?", tokens[0].word) is not None


@lru_cache(maxsize=16384)
def _plain(text: str) -> str:
    """Return the text without accents and possessives, with one form of signs and currencies."""
    text = text.translate(_APOSTROPHES).translate(_UNDECOMPOSED)
    text = unicodedata.normalize("NFKD", _SUPERSCRIPT.sub("^", text)).translate(_HYPHENS)
    text = text.replace("\u2044", "/")
    if not text.isascii():
        text = "".join(_base_letter(char) for char in text if not unicodedata.combining(char))
    text = _AMOUNT.sub(_amount_words, text)
    text = _SYMBOL_ALONE.sub(lambda match: f" {_CURRENCIES[match[0]]} ", text)
    text = _PERCENT.sub(" percent ", text)
    text = _MINUS_SIGN.sub(_sign, text)
    text = re.sub(rf"(?<![\w.])({SIGN}?)\.(?=\d)", r"\g<1>0.", text)
    text = _SPACED_THOUSANDS.sub(lambda match: match[0].replace(" ", ""), text)
    text = _WORLD_WARS.sub(r"World War \1", text)
    return _POSSESSIVE.sub("", _INITIALS.sub(r"\1", text)).replace("'", "")


def _base_letter(char: str) -> str:
    """Return D for Đ, o for ø: letters with a stroke or hook. Other characters stay."""
    if char.isascii() or not char.isalpha():
        return char
    named = _NAMED_LETTER.fullmatch(unicodedata.name(char, ""))
    if named is None:
        return char
    return named[1] if char.isupper() else named[1].lower()


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


@lru_cache(maxsize=16384)
def _tokens(text: str) -> tuple[_Token, ...]:
    text = without_number_words(_plain(text))
    tokens = []
    for word, match in _split(text):
        before = text[: match.start()].rstrip(' "(')
        after = text[match.end() : match.end() + 2]
        is_joined = after[:1] == "-" and after[1:].isupper() and word[0].isupper()
        opens_sentence = not before or before[-1] in ".!?:;\n"
        tokens.append(_Token(word, word.casefold(), opens_sentence, is_joined))
    return tuple(tokens)


def _mentions_one(text: tuple[_Token, ...], answer_text: str, in_other_names: bool = False) -> bool:
    answer = _without_article(_tokens(answer_text))
    if not answer:
        return False
    size = len(answer)
    may_be_singular = answer[-1].word.islower()
    for start in range(len(text) - size + 1):
        if not _matches(text[start : start + size], answer, may_be_singular):
            continue
        if size == 1 and not _is_the_name(text, start, answer[0]):
            continue
        if in_other_names or not _is_part_of_a_name(text, start, answer):
            return True
    return False


def _matches(window: Sequence[_Token], answer: Sequence[_Token], may_be_singular: bool) -> bool:
    """Whether all words are equal, except for a plural ending of the last one.

    A capitalized answer has no singular: "a job" does not name "Jobs".
    """
    for position, (token, wanted) in enumerate(zip(window, answer, strict=True)):
        if token.folded == wanted.folded or (position and _same_numeral(token, wanted)):
            continue
        if position + 1 < len(answer):
            return False
        plurals = _plurals(token.folded) if may_be_singular else ()
        if token.folded not in _plurals(wanted.folded) and wanted.folded not in plurals:
            return False
    return True


def _same_numeral(first: _Token, second: _Token) -> bool:
    """Whether a Roman numeral and a number are the same: "World War II", "World War Two"."""
    for roman, number in ((first.word, second.word), (second.word, first.word)):
        value = roman_value(roman)
        if value is not None and value == number_value(number):
            return True
    return False


def _plurals(word: str) -> tuple[str, ...]:
    if len(word) < 3 or not word[-1].isalpha() or number_value(word) is not None:
        return ()
    regular = (word + "s", word + "es")
    return (*regular, word[:-1] + "ies") if word.endswith("y") else regular


def _is_the_name(text: Sequence[_Token], position: int, answer: _Token) -> bool:
    """Whether a word of the text is the answer, and not a function word that is spelled like it.

    A symbol's case matters: "let us" must not name "US".
    """
    token = text[position]
    following = text[position + 1] if position + 1 < len(text) else None
    is_symbol = len(answer.word) <= 2 and answer.word[0].isupper()
    if is_symbol and token.word != answer.word:
        return False
    is_whole_text = len(_without_article(text)) == 1
    if not answer.word[0].isupper() or is_whole_text:
        return True
    if answer.folded in _ALSO_VERBS:
        if token.word != answer.word:
            return position > 0 and text[position - 1].folded in _TIME_WORDS
        return not (
            token.opens_sentence and following is not None and following.folded in _AFTER_MODAL
        )
    if is_symbol and answer.folded in _ALSO_FUNCTION_WORDS and following is not None:
        is_pronoun = answer.folded == "i" and following.word.islower()
        if token.opens_sentence or is_pronoun:
            return answer.folded != "he" and following.folded in _AFTER_NOUN
    return True


def _is_part_of_a_name(text: Sequence[_Token], start: int, answer: Sequence[_Token]) -> bool:
    """Whether the words at `start` belong to a longer name: "New Mexico", "Guinea-Bissau"."""
    if not answer[0].word[0].isupper():
        return False
    stop = start + len(answer)
    if stop < len(text) and (
        _are_joined(text[stop - 1], text[stop]) or _continues(answer, text[stop].word)
    ):
        return True
    if start == 0:
        return False
    before = text[start - 1]
    # "Pierre-Auguste Renoir" is the name of Auguste Renoir.
    is_joined = len(answer) == 1 and _are_joined(before, text[start])
    is_direction = text[start].folded in _OTHER_PLACES.get(before.folded, "").split()
    return is_joined or is_direction or before.word == "New"


def _are_joined(first: _Token, second: _Token) -> bool:
    """Whether a hyphen makes one name of two words."""
    are_demonyms = _DEMONYM.search(first.folded) and _DEMONYM.search(second.folded)
    return first.is_joined and first.folded not in _JOINING and not are_demonyms


def _continues(name: Sequence[_Token], after: str) -> bool:
    """Whether a word makes the name before it another one: "Mexico City", "Napoleon III"."""
    if after == "City":
        return " ".join(token.folded for token in name) in _CITIES
    last = name[-1].word
    is_regnal = after in ("V", "X") or (len(after) > 1 and roman_value(after) is not None)
    return is_regnal and last.isalpha() and roman_value(last) is None


def _n_articles(folded: Sequence[str]) -> int:
    """Return 1 for a leading article that is not the only word ("A" is a blood group), else 0."""
    return int(len(folded) > 1 and folded[0] in _ARTICLES)


def _without_article(tokens: Sequence[_Token]) -> Sequence[_Token]:
    return tokens[_n_articles([token.folded for token in tokens]) :]
