"""Marks that belong to a word as its letters do: vowel signs, viramas, nuktas and tone marks.

They are the combining marks (Unicode categories Mn and Mc) of Thaana, of the Indic scripts, and of
those of Southeast Asia. For `re` they are no word characters, so a pattern of words must name them.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

_SCRIPTS = (
    range(0x0780, 0x07C0),  # Thaana
    range(0x0900, 0x1100),  # Devanagari to Sinhala, Thai, Lao, Tibetan, Myanmar
    range(0x1700, 0x1AB0),  # Philippine scripts, Khmer, Mongolian, Limbu to Tai Tham
    range(0x1B00, 0x1D00),  # Balinese to Lepcha, Vedic signs
    range(0xA800, 0xAC00),  # Syloti Nagri to Meetei Mayek
    range(0x11000, 0x12000),  # Brahmi, Chakma, Grantha and others
)


def _class_of(codes: list[int]) -> str:
    """The inside of a character class, with runs of codes as ranges."""
    runs = (
        [code for _, code in run]
        for _, run in groupby(enumerate(codes), key=lambda pair: pair[1] - pair[0])
    )
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)


SIGNS = _class_of(
    [
        code
        for script in _SCRIPTS
        for code in script
        if unicodedata.category(chr(code)) in ("Mn", "Mc")
    ]
)
"""All signs, as the inside of a character class of a regular expression."""

WORD = rf"[^\W_]+(?:[{SIGNS}][^\W_]*)*"
"""A pattern of one word: letters and digits with their signs."""

IS_SIGN = re.compile(f"[{SIGNS}]").match
HAS_SIGN = re.compile(f"[{SIGNS}]").search

# These scripts put no space between words: a run of letters may be a sentence.
_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")


def n_letters(word: str) -> int:
    """The number of letters and digits of a word, its signs not counted."""
    return len(word) if word.isascii() else sum(IS_SIGN(char) is None for char in word)


def has_no_spaces(word: str) -> bool:
    """Whether a word is in a script that is written without spaces: Thai, Lao, Myanmar, Khmer."""
    return _WITHOUT_SPACES.search(word) is not None
