"""Conversion of rows to facts, and the recording of bad rows; shared by all formats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from contraflow.errors import UserError, on_one_line
from contraflow.facts import Fact
from contraflow.facts.fact import BadRowError, fact_from_row, is_same_edit, same_id
from contraflow.facts.formats._seen import Seen

OnError = Literal["raise", "skip"]
_MAX_MESSAGES = 100
_QUESTION_PREFIX = re.compile(r"^\s*(?:nq question|question|q)\s*:\s*", re.IGNORECASE)
_QUESTION_WORD = re.compile(r"(?:who|whom|whose|what|which|when|where|why|how)\b", re.IGNORECASE)


@dataclass
class Skipped:
    """The skipped rows: the number of bad ones, and `file:line: reason` of the first 100."""

    count: int = 0
    messages: list[str] = field(default_factory=list)
    # Repeated occurrences of an edit that was converted already.
    repeated: int = 0

    def record(self, message: str) -> None:
        """Record a bad row."""
        self.count += 1
        if len(self.messages) < _MAX_MESSAGES:
            self.messages.append(message)


def facts_from_rows(
    rows: Iterable[tuple[str, Mapping[str, object] | BadRowError]],
    on_error: OnError,
    skipped: Skipped | None,
    *,
    same_edit_is_one_fact: bool = False,
) -> Iterator[Fact]:
    """Stream the facts of `(file:line, row)` pairs, each once.

    A reader that cannot split a line into columns passes the error in place of the row. With
    `on_error="skip"` bad rows are recorded in `skipped` instead of raised. A fact with the
    `fact_id` of another one is a bad row. In published data, `same_edit_is_one_fact`: rows with the
    same subject and edited statement are one fact, the first, whatever else is in them.

    Raises: UserError for an unknown `on_error`, or with "raise" for the first bad row.
    """
    if on_error not in ("raise", "skip"):
        raise UserError(f"on_error={on_error!r} is unknown; choose 'raise' or 'skip'")
    seen = Seen()
    for place, row in rows:
        try:
            if isinstance(row, BadRowError):
                raise row
            fact = fact_from_row(dict(row))
            stored = seen.first(fact.fact_id, msgspec.msgpack.encode((place, fact)))
            if stored is None:
                yield fact
                continue
            earlier_place, earlier = msgspec.msgpack.decode(stored, type=tuple[str, Fact])
            is_one = same_edit_is_one_fact and is_same_edit(fact, earlier)
            if not is_one and fact != earlier:
                raise BadRowError(same_id(fact, earlier, earlier_place))
            if skipped is not None:
                skipped.repeated += 1
        except BadRowError as error:
            message = f"{place}: {on_one_line(error)}"
            if on_error == "raise":
                raise UserError(f"{message} (or skip such rows with on_error=skip)") from None
            if skipped is not None:
                skipped.record(message)


def without_question_prefix(prompt: str) -> str:
    """Remove the prefix of a data set's own model, and complete a question by its question mark.

    "nq question: who wrote Hamlet" gives "who wrote Hamlet?". The start of a statement ("The
    capital of France is") gets no question mark.
    """
    bare = _QUESTION_PREFIX.sub("", prompt).strip()
    lacks_mark = _QUESTION_WORD.match(bare) is not None and not bare.endswith("?")
    return f"{bare}?" if lacks_mark else bare


def is_question(prompt: str) -> bool:
    """Whether a prompt is a complete question, not the start of a statement."""
    return prompt.rstrip().endswith("?")
