"""One spelling of letters: case, accents, apostrophes, spaces, and characters that nobody sees.

`visible` is a text as it is read. `fold` and `spans_of` compare texts without case and accents, in
composed (NFC) and decomposed (NFD) letters alike.

An accent is a mark without which a word is still the same: é, й, Hebrew points, Arabic vowels. The
marks of Indic and Southeast Asian scripts are no accents (`signs.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from contraflow.text.signs import HAS_SIGN, IS_SIGN, SIGNS

# Curly quotes, free-standing accents, and the letters that look like an apostrophe.
APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018`\u00b4\u02bb\u02bc\u02bd\u02be\u02bf", "'"))
HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"))
# Letters that no normal form takes apart. Those with a stroke are found by their name.
LETTERS = str.maketrans(
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
    }
)
_NAMED_LETTER = re.compile(r"LATIN (?:SMALL|CAPITAL) LETTER ([A-Z])(?: WITH .*)?")
# Blank by the standard (Default_Ignorable_Code_Point) and not of category Cf: a joiner of marks,
# fillers of Hangul, vowels of Khmer, and selectors of variants.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def visible(text: str) -> str:
    """Return the text as it is read: composed letters, plain spaces, nothing invisible.

    Invisible are format characters (Unicode category Cf: zero-width spaces and joiners, soft
    hyphens, direction marks) and blanks. Line breaks and control characters stay.
    """
    if text.isascii():
        return text
    composed = unicodedata.normalize("NFC", without_invisible(text))
    return "".join(" " if unicodedata.category(char) == "Zs" else char for char in composed)


def without_invisible(text: str) -> str:
    """Return the text without format characters and blanks."""
    if text.isascii():
        return text
    return "".join(char for char in text if not _is_invisible(char))


def caseless(name: str) -> str:
    """Return a name by which equal names are found: composed and case-folded, with its accents."""
    return unicodedata.normalize("NFC", name).casefold()


def without_accents(text: str) -> str:
    """Return a decomposed text (NFD or NFKD) with base letters only, and all signs of words."""
    return "".join(
        base_letter(char) for char in text if not unicodedata.combining(char) or IS_SIGN(char)
    )


def base_letter(char: str) -> str:
    """Return D for Đ, o for ø: letters with a stroke or hook. Other characters stay."""
    if char.isascii() or not char.isalpha():
        return char
    named = _NAMED_LETTER.fullmatch(unicodedata.name(char, ""))
    if named is None:
        return char
    return named[1] if char.isupper() else named[1].lower()


def fold(text: str) -> str:
    """Return the text case-folded, without accents and invisible characters."""
    return _folded(text).text


def spans_of(phrase: str, text: str) -> list[slice]:
    """Return where a phrase stands in a text as whole words, whatever its case and accents.

    `text[span]` is the phrase as the text writes it, with all marks of its last letter. A phrase
    without visible characters stands nowhere.
    """
    parts = map(re.escape, fold(phrase).split())
    pattern = r"\s+".join(parts)
    if not pattern:
        return []
    folded = _folded(text)
    # The large class is slow to compile, and few texts need it.
    has_signs = not folded.text.isascii() and HAS_SIGN(folded.text)
    inside = rf"[\w{SIGNS}]" if has_signs else r"\w"
    matches = re.finditer(rf"(?<!{inside}){pattern}(?!{inside})", folded.text)
    return [slice(folded.places[m.start()], folded.places[m.end()]) for m in matches]


@dataclass(frozen=True)
class _Folded:
    """A folded text, and the place in the text of each of its characters and of its end."""

    text: str
    places: Sequence[int]


# A subject is looked for in many questions and answers, several times in each.
@lru_cache(maxsize=16384)
def _folded(text: str) -> _Folded:
    if text.isascii():
        return _Folded(text.lower().translate(APOSTROPHES), range(len(text) + 1))
    letters: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        folded = _folded_char(char)
        letters.append(folded)
        places += [place] * len(folded)
    return _Folded("".join(letters), (*places, len(text)))


def _folded_char(char: str) -> str:
    """Return the letters of a character; "" for an accent of the letter before it."""
    if _is_invisible(char):
        return ""
    if unicodedata.category(char) == "Zs":
        return " "
    char = char.translate(APOSTROPHES).translate(HYPHENS)
    letters = unicodedata.normalize("NFKD", char).translate(LETTERS)
    base = without_accents(letters)
    # Other symbols stay as they are: of "½" and "…" there would be several characters.
    is_comparable = char.isalpha() or char.isdecimal() or not base or IS_SIGN(char)
    return base.casefold() if is_comparable else char


def _is_invisible(char: str) -> bool:
    return not char.isascii() and (
        unicodedata.category(char) == "Cf" or _BLANK.match(char) is not None
    )
