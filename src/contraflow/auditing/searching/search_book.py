"""Searches that are finished: a file beside the audit, one line an edit of an edited model.

A search costs minutes, nearly all of it for drawing and learning; so it is kept as a whole, where
the answer book alone would save what its questions cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from contraflow.system.files import append
from contraflow.system.kept_lines import kept_lines


class _Line(msgspec.Struct, frozen=True):
    key: str
    questions: tuple[str, ...]


class SearchBook:
    """The questions of every finished search, by a key of all that it depends on.

    Raises: UserError for a file that holds something else or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._questions: dict[str, list[str]] = {}
        remedy = "the sampler will be adapted to its edit again"
        for line in kept_lines(path, _Line, what="a search that an audit wrote", remedy=remedy):
            self._questions[line.key] = list(line.questions)

    def of(self, key: str) -> list[str] | None:
        """The questions that a finished search asked; None for one that is not."""
        return self._questions.get(key)

    def keep(self, key: str, questions: Sequence[str]) -> None:
        """Write down what a search asked, in its order."""
        self._questions[key] = list(questions)
        append(self.path, msgspec.json.encode(_Line(key, tuple(questions))) + b"\n", sync=True)


def search_key(*parts: object) -> str:
    """24 hex digits of all that a search depends on."""
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=12).hexdigest()
