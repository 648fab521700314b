"""Decode one JSON value as users and their tools write it, not only as RFC 8259 has it.

Python's `json.dump` writes NaN, Infinity and halves of surrogate pairs. A field that is not read
may hold them, so they are no errors here. NaN and infinities become `NaN` and `Infinity`, floats
whose type names them in a message. A lone surrogate stays in its text; `contraflow.facts.fact`
refuses it in the fields of a fact.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec


class NaN(float):
    """The constant NaN."""


class Infinity(float):
    """The constants Infinity and -Infinity."""


def decode_json(content: bytes) -> Any:
    """Return the value. Integers of any length are exact.

    Raises: ValueError that says what is wrong and how to mend it.
    """
    try:
        return msgspec.json.decode(content)
    except RecursionError:
        raise ValueError("is not valid JSON (nested too deeply)") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return json.loads(content.decode(), parse_constant=_constant)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text; save the file as UTF-8") from None
    except RecursionError:
        raise ValueError("is not valid JSON (nested too deeply)") from None
    except ValueError as error:
        raise ValueError(f"is not valid JSON ({error})") from None


def _constant(name: str) -> float:
    return NaN(name) if name == "NaN" else Infinity(name)
