"""Removal of secrets from server addresses, because printed and logged text gets shared."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LOGIN = re.compile(r"(?<=://)[^/@\s]*@")
_OPTION = re.compile(r"([?&](?:password|username)=)[^&\s'\"]*", re.IGNORECASE)


def safe_url(url: str) -> str:
    """Return the URL without user, password and options, even if it is malformed.

    Return "(hidden)" where the end of the password is ambiguous.
    """
    scheme, separator, rest = url.rpartition("://")
    location, *options = re.split(r"[?#]", rest, maxsplit=1)
    # An @ after ? or # may belong to a password with an unescaped ? or #.
    if any("@" in option for option in options) or not re.fullmatch(r"[a-z]*", scheme):
        return "(hidden)"
    return f"{scheme}{separator}{location.rpartition('@')[2]}"


def without_passwords(text: str) -> str:
    """Return the text with user and password removed from its URLs."""
    return _OPTION.sub(r"\1***", _LOGIN.sub("***@", text))


def without_logins(text: str) -> str:
    """Return the text with `user:password@` cut out of its URLs."""
    return _LOGIN.sub("", text)


def safe_words(words: Iterable[str]) -> list[str]:
    """Return the words of a command line without secrets; `url=…` values pass `safe_url`."""
    return [_safe_word(word) for word in words]


def _safe_word(word: str) -> str:
    key, equals, value = word.partition("=")
    if equals and key.lstrip("+").rpartition(".")[2] == "url":
        return f"{key}={safe_url(value)}"
    return without_passwords(word)
