"""Keys and columns that are not read, but are nearly those of a fact or an edit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from contraflow.errors import on_one_line
from contraflow.facts.edit import EDIT_KEYS, PROBE_KEYS, Probe
from contraflow.facts.fact import Fact, fact_lines

_KNOWN = (*Fact.__struct_fields__, *EDIT_KEYS)
_LIKENESS = 0.85  # of two names, from 0 to 1, by their common letters


def similar_key(name: str) -> str | None:
    """The key that a name is nearly, as `original_answer` for `orignal_answer`.

    None for a key that is read, and for a name like none of them.
    """
    if name in _KNOWN:
        return None
    return next(iter(get_close_matches(name, _KNOWN, 1, _LIKENESS)), None)


def misspelt_keys(path: str | Path) -> list[str]:
    """Return `file:line: …` for each key of a facts file that is not read, but nearly another one.

    Raises: UserError for a file that cannot be read.
    """
    return [
        f"{path}:{line}: {on_one_line(message)}"
        for line, content in fact_lines(path)
        for message in misspelt(content)
    ]


def misspelt(content: bytes) -> Iterator[str]:
    """A message for each such key of one line; none for a line that is no JSON object."""
    try:
        row = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(row, dict):
        return
    for key in row:
        if similar := similar_key(key):
            yield f"{key!r} is not read; did you mean {similar!r}?"
    for name in PROBE_KEYS:
        probes = row.get(name)
        for probe in probes if isinstance(probes, list) else ():
            for key in probe if isinstance(probe, dict) else ():
                if key not in Probe.__struct_fields__:
                    known = ", ".join(Probe.__struct_fields__)
                    yield f"{name!r}: the key {key!r} of a probe is not read; it has {known}"
