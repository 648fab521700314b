"""Lists in the grammar of overrides, split at the commas that separate their values."""

from __future__ import annotations

_CLOSING = {"[": "]", "{": "}", "(": ")"}
_OPENS_A_VALUE = "[{(,:"


def split_values(text: str) -> list[str]:
    """Split at the commas outside of brackets and quotes; the values keep their quotes.

    A quote opens only where a value begins, so that the apostrophe of `it's.jsonl` is a character.
    A backslash keeps the next character as it is.

    Raises: ValueError for a bracket or quote that is not closed.
    """
    values: list[str] = []
    expected: list[str] = []  # closing brackets, the innermost last
    quote = ""
    before = ","  # the last character that is not a space
    start = 0
    escaped = False
    for i, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and before in _OPENS_A_VALUE:
            quote = character
        elif character in _CLOSING:
            expected.append(_CLOSING[character])
        elif character in _CLOSING.values():
            if not expected or expected.pop() != character:
                raise ValueError(f"{character} at place {i + 1} closes no bracket")
        elif character == "," and not expected:
            values.append(text[start:i].strip())
            start = i + 1
        if not character.isspace():
            before = character
    if quote or expected:
        raise ValueError(f"a {quote or expected[-1]} is missing at the end")
    return [*values, text[start:].strip()]
