"""Conversion of rows to facts, and the recording of bad rows; shared by all formats."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from contraflow.errors import UserError, on_one_line
from contraflow.facts import Fact
from contraflow.facts.edit import Edit, edit_from_row
from contraflow.facts.fact import BadRowError, fact_from_row, is_same_edit, same_id
from contraflow.facts.formats._probes import UNREAD
from contraflow.facts.formats._seen import Seen

OnError = Literal["raise", "skip"]
_MAX_MESSAGES = 100


@dataclass
class Skipped:
    """The skipped rows: the number of bad ones, and `file:line: reason` of the first 100."""

    count: int = 0
    messages: list[str] = field(default_factory=list)
    # Repeated occurrences of an edit that was converted already.
    repeated: int = 0
    # Test prompts that were not read since they are stored in an unknown form.
    unread: list[str] = field(default_factory=list)
    # Columns of a table that no field is read from.
    not_read: Sequence[str] = ()

    def record(self, message: str) -> None:
        """Record a bad row."""
        self.count += 1
        if len(self.messages) < _MAX_MESSAGES:
            self.messages.append(message)

    def record_unread(self, message: str) -> None:
        """Record a field of test prompts that was left out."""
        if len(self.unread) < _MAX_MESSAGES:
            self.unread.append(message)


Rows = Iterable[tuple[str, Mapping[str, object] | BadRowError]]


@dataclass(frozen=True)
class RowSource:
    """The `(file:line, row)` pairs of a file; a row has the fields of a fact, and of an edit.

    A reader that cannot split a line into columns passes the error in place of the row.
    same_edit_is_one_fact: in published data, rows with the same subject and edited statement are
        one fact, the first, whatever else is in them; with the aliases of all.
    not_read: columns of a table that no field is read from; complete when the rows have been read.
    """

    rows: Rows
    same_edit_is_one_fact: bool = False
    not_read: Collection[str] = ()


def facts_of(source: RowSource, on_error: OnError, skipped: Skipped | None) -> Iterator[Fact]:
    """Yield the facts of a file, each once; fields of edits are not read.

    They are streamed, except from published data: there later rows about an edit may have more
    aliases of its original answer, so that the file is read to its end first.

    With `on_error="skip"` bad rows are recorded in `skipped` instead of raised. A fact with the
    `fact_id` of another one is a bad row.

    Raises: UserError for an unknown `on_error`, or with "raise" for the first bad row.
    """
    seen = Seen()
    found = _new_edits(source, on_error, skipped, _bare_edit, seen)
    if source.same_edit_is_one_fact:
        found = _all_of(found, seen)
    for edit in found:
        yield edit.fact


def edits_of(
    source: RowSource,
    on_error: OnError,
    skipped: Skipped | None,
    on_edit: Callable[[], None] | None = None,
) -> Iterator[Edit]:
    """Yield the edits of a file, each once, with the tests of all rows about it.

    The whole file is read before the first one is yielded; meanwhile they are kept on disk.
    `on_edit` is called as each is read, for a progress bar.

    Raises: UserError, as `facts_of`.
    """
    seen = Seen()
    return _all_of(_new_edits(source, on_error, skipped, edit_from_row, seen), seen, on_edit)


def _all_of(
    new: Iterator[Edit], seen: Seen, on_edit: Callable[[], None] | None = None
) -> Iterator[Edit]:
    """Yield the edits that `seen` has once all rows are read."""
    for _ in new:
        if on_edit is not None:
            on_edit()
    for stored in seen.values():
        yield msgspec.msgpack.decode(stored, type=Edit)


def _bare_edit(row: Mapping[str, object], place: str) -> Edit:
    return Edit(fact=fact_from_row(dict(row)), place=place)


def _new_edits(
    source: RowSource,
    on_error: OnError,
    skipped: Skipped | None,
    edit_from: Callable[[Mapping[str, object], str], Edit],
    seen: Seen,
) -> Iterator[Edit]:
    """Yield each edit at its first row; `seen` gets them with the tests of the later rows."""
    if on_error not in ("raise", "skip"):
        raise UserError(f"on_error={on_error!r} is unknown; choose 'raise' or 'skip'")
    for place, row in source.rows:
        try:
            if isinstance(row, BadRowError):
                raise row
            edit = edit_from(row, place)
            _record_unread(row, place, skipped)
            stored = seen.first(edit.fact.fact_id, msgspec.msgpack.encode(edit))
            if stored is None:
                yield edit
                continue
            earlier = msgspec.msgpack.decode(stored, type=Edit)
            _check_same(edit, earlier, source.same_edit_is_one_fact)
            joined = earlier.joined(edit)
            if joined != earlier:
                seen.replace(edit.fact.fact_id, msgspec.msgpack.encode(joined))
            if skipped is not None:
                skipped.repeated += 1
        except BadRowError as error:
            message = f"{place}: {on_one_line(error)}"
            if on_error == "raise":
                raise UserError(f"{message} (or skip such rows with on_error=skip)") from None
            if skipped is not None:
                skipped.record(message)
    if skipped is not None:
        skipped.not_read = tuple(source.not_read)


def _check_same(edit: Edit, earlier: Edit, same_edit_is_one_fact: bool) -> None:
    """Raises: BadRowError if an edit with the id of an earlier one is another edit."""
    is_one = same_edit_is_one_fact and is_same_edit(edit.fact, earlier.fact)
    if not is_one and edit.fact != earlier.fact:
        raise BadRowError(same_id(edit.fact, earlier.fact, earlier.place))


def _record_unread(row: Mapping[str, object], place: str, skipped: Skipped | None) -> None:
    unread = row.get(UNREAD)
    if skipped is not None and isinstance(unread, list):
        for field_name in unread:
            skipped.record_unread(f"{place}: field '{field_name}' has a form that is not known")
