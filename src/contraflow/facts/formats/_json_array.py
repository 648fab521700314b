"""Split a JSON array into its items without decoding them, in little memory.

An item that is not valid JSON thus is one bad row. Only brackets that do not match, and a file that
ends early, stop the array.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

# With a larger buffer `rows_about` would underestimate.
BUFFER_BYTES = 1 << 14
MAX_ITEM_BYTES = 64 * 2**20
# A string ends at its quotation mark, or at a line break, which no JSON string contains.
_STRING = rb'"(?:[^"\\\r\n]++|\\.)*+["\r\n]'
_PLAIN = rb'[^"\[\]{}]++|' + _STRING
# Two levels of inner brackets are skipped by the pattern itself, for speed.
_INNER = rb"[\[{](?:" + _PLAIN + rb")*+[\]}]"
_INNER = rb"[\[{](?:" + _PLAIN + rb"|" + _INNER + rb")*+[\]}]"
# Everything up to the next bracket; in the array itself, up to the next bracket or comma.
_TO_BRACKET = re.compile(rb"(?:" + _PLAIN + rb"|" + _INNER + rb")*+([\[\]{}])", re.DOTALL)
_TO_SEPARATOR = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+([\[\]{},])", re.DOTALL)
_OPENING = {ord("]"): ord("["), ord("}"): ord("{")}


class DamagedArrayError(ValueError):
    """The next item cannot be found; the message says why."""


def array_items(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of each item of the array at the file's position.

    Raises: DamagedArrayError if brackets do not match, an item is longer than `MAX_ITEM_BYTES`, or
    the file ends within the array or goes on after it.
    """
    buffer = b""
    position = 0  # where to search for the next bracket
    start = 0  # of the current item
    opened = bytearray()
    n_items = 0
    while True:
        pattern = _TO_BRACKET if len(opened) > 1 else _TO_SEPARATOR
        match = pattern.match(buffer, position)
        if match is None:
            # Reading as much as there is already keeps the searches of a long item linear.
            more = file.read(max(BUFFER_BYTES, len(buffer) - start))
            if not more:
                if len(opened) == 1 and buffer[start:].strip():
                    yield buffer[start:]
                raise DamagedArrayError("it ends within the array")
            if len(buffer) - start + len(more) > MAX_ITEM_BYTES:
                raise DamagedArrayError(f"it is longer than {MAX_ITEM_BYTES // 2**20} MiB")
            buffer = buffer[start:] + more
            position -= start
            start = 0
            continue
        position = match.end()
        mark = buffer[position - 1]
        if mark in b"[{":
            opened.append(mark)
            if len(opened) == 1:
                start = position
        elif mark == ord(","):
            yield buffer[start : position - 1]
            n_items += 1
            start = position
        elif opened.pop() != _OPENING[mark]:
            raise DamagedArrayError(f"a {chr(mark)} closes what was not opened")
        elif not opened:
            item = buffer[start : position - 1]
            if n_items or item.strip():
                yield item
            if (buffer[position:] + file.read(BUFFER_BYTES)).strip():
                raise DamagedArrayError("the file goes on after the array")
            return
