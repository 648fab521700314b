"""Numbers written in one way: "twenty four", "a hundred", "1,5", "-39", "XLIV", "4th of July".

All functions expect text of `match.plain`: no accents, every hyphen is "-", a sign is "\u2212".
"""

from __future__ import annotations

import re

SIGN = "\u2212"

# fmt: off
_UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen", "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13,
    "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17, "eighteenth": 18,
    "nineteenth": 19, "twentieth": 20, "thirtieth": 30, "fortieth": 40, "fiftieth": 50,
    "sixtieth": 60, "seventieth": 70, "eightieth": 80, "ninetieth": 90,
}
# fmt: on
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_VALUES = (
    {word: number for number, word in enumerate((*_UNITS, *_TEENS))}
    | {word: 10 * number for number, word in enumerate(_TENS, start=2)}
    | {"hundred": 100}
    | _SCALES
)
_PARTS = {word: value for word, value in _ORDINALS.items() if 3 <= value <= 10}
_PARTS |= {word + "s": value for word, value in _PARTS.items()}
_PARTS |= {"half": 2, "halves": 2, "quarter": 4, "quarters": 4}

_MULTIPLE = "|".join(("hundred", *_SCALES))
_ANY = "|".join(sorted({*_VALUES, *_ORDINALS}, key=len, reverse=True))
_NEXT = rf"(?:(?:-| and | )(?:{_ANY}))*"
# The bounds keep an amount far below the longest integer that Python converts.
_AMOUNT = rf"{SIGN}?(?<![\d.,])\d{{1,15}}(?:,\d{{3}}){{0,4}}(?:[.,]\d{{1,6}})?"
_PHRASE = re.compile(
    rf"(?<![\w-])(?:(?:half )?an? (?:{_MULTIPLE})|{_AMOUNT}[ -](?:{_MULTIPLE})|{_ANY})"
    rf"{_NEXT}(?!\w)",
    re.IGNORECASE,
)
_FRACTION = re.compile(
    rf"(?<![\w-])({'|'.join(_UNITS[1:])})[ -]({'|'.join(_PARTS)})(?!\w)", re.IGNORECASE
)
_COMPOUND = re.compile(rf"\b({'|'.join(_TENS)})-({'|'.join(_UNITS[1:])})\b", re.IGNORECASE)
_MINUS = re.compile(r"(\d ?)?\b(?:minus|negative)[ -](?=\d)", re.IGNORECASE)
_DEGREES = re.compile(r"\bdegrees? (c|f)(?:elsius|ahrenheit)\b", re.IGNORECASE)

_MONTH = (
    "(?:[Jj]anuary|[Ff]ebruary|March|[Aa]pril|May|[Jj]une|[Jj]uly|[Aa]ugust|[Ss]eptember"
    "|[Oo]ctober|[Nn]ovember|[Dd]ecember)"
)
_DAY = r"(?<![\w.,\u2212-])(\d{1,2})(?:st|nd|rd|th)?(?![\d.,]\d|\w)"
_DATE = re.compile(rf"\b({_MONTH}) {_DAY}|{_DAY} (?:of )?({_MONTH})\b")

# "One" is a pronoun after these words and before those: "no one", "one of the elements".
_BEFORE_PRONOUN = re.compile(r"\b(?:no|any|every|each|some|which|another|the|this|that) $", re.I)
_AFTER_PRONOUN = re.compile(
    r" (?:of|another|who|that|which|whose|to|can|must|may|might|should|would|could)\b", re.I
)
_NO_NOUN = re.compile(
    r"[^\w\s]|\s*$| (?:of|in|on|is|was|who|that|which|to|for|with|and|or)\b", re.I
)
_ALWAYS_PRONOUN = re.compile(r"\b(?:no|any|every|each|some|another) $", re.I)

_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?")
_THOUSANDS_WITH_POINTS = re.compile(r"[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?")
_DECIMAL_COMMA = re.compile(r"\d{1,3},\d+|\d+,\d\d?")
_ROMAN = re.compile(r"(?=[IVXL])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50}


def without_number_words(text: str) -> str:
    """Write number words as digits, ordinals as "4th", fractions as "2/3", days as "July 4".

    "One" stays a word where it is a pronoun.
    """
    text = _DEGREES.sub(lambda match: match[1].upper(), text)
    text = _FRACTION.sub(lambda m: f"{_VALUES[m[1].lower()]}/{_PARTS[m[2].lower()]}", text)
    text = _PHRASE.sub(_digits_of_phrase, text)
    text = _MINUS.sub(lambda match: match[0] if match[1] else SIGN, text)
    return _DATE.sub(lambda m: f"{m[1]} {m[2]}" if m[1] else f"{m[4]} {m[3]}", text)


def without_compounds(text: str) -> str:
    """Write only "twenty-four" as digits: the words of a text stay as many as they were."""
    return _COMPOUND.sub(lambda m: str(_VALUES[m[1].lower()] + _VALUES[m[2].lower()]), text)


def plain_numbers(token: str) -> list[str]:
    """Return the numbers of a token of digits, points and commas, in plain notation.

    1,000 and 1.000.000 have separators of thousands, 1,5 has a decimal comma, 1,2,3 is a list.
    """
    sign = "-" if token.startswith(SIGN) else ""
    digits = token.removeprefix(SIGN)
    if _THOUSANDS.fullmatch(digits):
        return [sign + digits.replace(",", "")]
    if _THOUSANDS_WITH_POINTS.fullmatch(digits):
        return [sign + digits.replace(".", "").replace(",", ".")]
    if _DECIMAL_COMMA.fullmatch(digits):
        return [sign + digits.replace(",", ".")]
    first, *others = digits.split(",")
    return [sign + first, *others]


def roman_value(word: str) -> int | None:
    """Return the value of a Roman numeral below 90 in capitals, or None.

    C, D and M are not read: "CD", "DC" and "MIX" are words.
    """
    if not word or not _ROMAN.fullmatch(word):
        return None
    digits = [_ROMAN_DIGITS[char] for char in word]
    signed = zip(digits, [*digits[1:], 0], strict=True)
    return sum(-digit if digit < following else digit for digit, following in signed)


def number_value(word: str) -> int | None:
    """Return the value of a whole number or an ordinal in digits, or None."""
    match = re.fullmatch(r"(-?\d{1,15})(?:st|nd|rd|th)?", word, re.IGNORECASE)
    return int(match[1]) if match else None


def _digits_of_phrase(match: re.Match[str]) -> str:
    phrase = match[0].lower()
    if phrase == "one" and _is_pronoun(match.string[: match.start()], match.string[match.end() :]):
        return match[0]
    reader = _Reader()
    if phrase.startswith("half a"):
        reader.read("0.5")
    words = phrase.removeprefix("half ").removeprefix("a ").removeprefix("an ")
    for word in re.split(r"[ -]", words):
        reader.read(word)
    reader.flush()
    return " ".join(reader.found)


def _is_pronoun(before: str, after: str) -> bool:
    if _AFTER_PRONOUN.match(after) or _ALWAYS_PRONOUN.search(before):
        return True
    return bool(_BEFORE_PRONOUN.search(before) and _NO_NOUN.match(after))


class _Reader:
    """Reads number words from left to right and collects the numbers that they spell."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._reset()

    def _reset(self) -> None:
        self.total = 0
        self.current: int | float = 0
        self.scale = 10**15
        # What the number may be continued with depends on its last word.
        self.last = ""
        self.has_and = False

    def flush(self) -> None:
        if self.last:
            value = self.total + self.current
            self.found.append(f"{value:.10g}" if value % 1 else str(int(value)))
        if self.has_and:
            self.found.append("and")
        self._reset()

    def read(self, word: str) -> None:
        if word == "and":
            if self.last not in ("hundred", "scale"):
                self.flush()
                self.found.append("and")
            else:
                self.has_and = True
        elif word in _ORDINALS:
            self._ordinal(_ORDINALS[word])
        elif word in _VALUES:
            self._cardinal(word, _VALUES[word])
        else:
            numbers = plain_numbers(word.rstrip(".,"))
            self.flush()
            self.found += numbers[:-1]
            self.current = float(numbers[-1]) if "." in numbers[-1] else int(numbers[-1])
            self.last = "digits"

    def _fits(self, value: int) -> bool:
        """Whether a number below a hundred continues the number read so far."""
        if self.last == "ten":
            return 1 <= value <= 9
        return self.last in ("", "hundred", "scale")

    def _cardinal(self, word: str, value: int) -> None:
        if word in _SCALES:
            if not self.last or self.has_and or self.scale <= value or not self.current:
                self.flush()
                self.current = 1
            self.total += round(self.current * value)
            self.current = 0
            self.scale = value
            self.last = "scale"
        elif word == "hundred":
            if not self.last or self.has_and or not 0 < self.current < 100:
                self.flush()
                self.current = 1
            self.current *= value
            self.last = word
        else:
            is_year = self.last in ("teen", "ten") and not self.total and 10 < self.current <= 20
            if is_year and value >= 10:
                self.current *= 100
                self.last = "hundred"
            if not self._fits(value):
                self.flush()
            self.current += value
            self.has_and = False
            self.last = "unit" if value < 10 else "teen" if value < 20 else "ten"

    def _ordinal(self, value: int) -> None:
        if not self._fits(value):
            self.flush()
        number = int(self.total + self.current) + value
        self._reset()
        self.found.append(with_suffix(number))


def with_suffix(number: int) -> str:
    """Return the ordinal of a number in digits: 1st, 22nd, 113th."""
    if number // 10 % 10 == 1:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
