"""Server addresses as they may be shown: what is printed or logged gets pasted elsewhere, so
secrets go first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LOGIN = re.compile(r"(?<=://)[^/@\s]*@")
_OPTION = re.compile(r"([?&](?:password|username)=)[^&\s'\"]*", re.IGNORECASE)


def safe_url(url: str) -> str:
    """The URL without user, password and options, also where it is malformed; hidden where that is
    unsure.
    """
    scheme, separator, rest = url.rpartition("://")
    place, *options = re.split(r"[?#]", rest, maxsplit=1)
    if any("@" in option for option in options) or not re.fullmatch(r"[a-z]*", scheme):
        return "(hidden)"  # an unescaped ? or # in a password: where it ends cannot be told
    return f"{scheme}{separator}{place.rpartition('@')[2]}"


def without_passwords(text: str) -> str:
    """Any text: its URLs lose user and password."""
    return _OPTION.sub(r"\1***", _LOGIN.sub("***@", text))


def safe_words(words: Iterable[str]) -> list[str]:
    """The words of a command line; the address of a server is shown as `safe_url` shows it."""
    return [_safe_word(word) for word in words]


def _safe_word(word: str) -> str:
    key, equals, value = word.partition("=")
    if equals and key.lstrip("+").rpartition(".")[2] == "url":
        return f"{key}={safe_url(value)}"
    return without_passwords(word)
