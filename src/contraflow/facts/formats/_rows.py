"""From one row of a foreign table to a fact: the part that every converter shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.fact import BadRowError, fact_from_row

OnError = Literal["raise", "skip"]
_QUESTION_PREFIX = re.compile(r"^\s*(?:nq question|question|q)\s*:\s*", re.IGNORECASE)

_QUESTION_WORD = re.compile(r"(?:who|whom|whose|what|which|when|where|why|how)\b", re.IGNORECASE)


_MESSAGES_KEPT = 100  # of a million bad rows nobody reads more


@dataclass
class Skipped:
    """The rows that were left out: how many, and of the first bad ones `file:line: reason`, to be
    reported.
    """

    count: int = 0
    messages: list[str] = field(default_factory=list)
    repeated: int = 0  # edits that the file has more than once, and that were written once

    def note(self, message: str) -> None:
        """One more bad row."""
        self.count += 1
        if len(self.messages) < _MESSAGES_KEPT:
            self.messages.append(message)


def facts_from_rows(
    rows: Iterable[tuple[str, Mapping[str, object] | BadRowError]],
    on_error: OnError,
    skipped: Skipped | None,
) -> Iterator[Fact]:
    """Facts of `(file:line, row)` pairs, one at a time; a bad row raises `UserError` or is skipped.

    A reader that can not even split a line into columns passes the error in place of the row.
    """
    if on_error not in ("raise", "skip"):
        raise UserError(f"on_error={on_error!r} is unknown; choose 'raise' or 'skip'")
    for place, row in rows:
        try:
            if isinstance(row, BadRowError):
                raise row
            yield fact_from_row(dict(row))
        except BadRowError as error:
            message = f"{place}: {error}"
            if on_error == "raise":
                raise UserError(f"{message} (or skip such rows with on_error=skip)") from None
            if skipped is not None:
                skipped.note(message)


def without_question_prefix(prompt: str) -> str:
    """ "nq question: who wrote Hamlet" -> "who wrote Hamlet?": datasets mark prompts for their own
    models.

    A prompt that is the start of a statement ("The capital of France is") stays as it is.
    """
    bare = _QUESTION_PREFIX.sub("", prompt).strip()
    return f"{bare}?" if _QUESTION_WORD.match(bare) and not bare.endswith("?") else bare


def is_question(prompt: str) -> bool:
    """Whether a prompt is a whole question, not the start of a statement."""
    return prompt.rstrip().endswith("?")
