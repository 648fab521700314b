"""Edits files: reading, checking and writing what an audit is about.

Any facts file is one, with or without the optional keys of `contraflow.facts.edit`, and so are the
published data sets and EasyEdit's results file that `contraflow.facts.formats` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from contraflow.errors import UserError
from contraflow.facts.edit import Edit, EditorScores, Probe, prompt_of, row_of
from contraflow.facts.fact import shorten
from contraflow.facts.formats import OnError, Skipped, convert_edits, format_of
from contraflow.facts.misspelt import misspelt_keys, similar_key
from contraflow.system.files import write_lines
from contraflow.system.input_file import require_file

__all__ = [
    "Edit",
    "EditorScores",
    "EditsFile",
    "Probe",
    "check_edits",
    "prompt_of",
    "read_edits",
    "write_edits",
]

MOST_NAMED = 3
_REMEDY = "give each fact an edited_answer, the answer that the editor was to teach"


class EditsFile(msgspec.Struct, frozen=True, kw_only=True):
    """The edits of a file, and what a reader of the results should know about it."""

    edits: tuple[Edit, ...]
    # One sentence each: rows left out, edits without an original answer, edits never applied.
    notes: tuple[str, ...] = ()


def read_edits(
    path: str | Path,
    format_name: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    on_error: OnError = "raise",
    ignore: Sequence[str] = (),
) -> EditsFile:
    """Read an edits file; the arguments are those of `contraflow.facts.formats.convert`.

    An edit without an original answer is read; one that is there twice has the tests of both rows.

    Raises: UserError for an unreadable file, one without edits, and (with `on_error="raise"`) bad
    rows: it lists the first ten as `file:line: …`.
    """
    path = Path(path)
    require_file(path, of="edits file")
    if on_error not in ("raise", "skip"):
        raise UserError(f"on_error={on_error!r} is unknown; choose 'raise' or 'skip'")
    skipped = Skipped()
    found = convert_edits(
        path, format_name, columns=columns, on_error="skip", skipped=skipped, ignore=ignore
    )
    edits = tuple(found)
    if skipped.count and on_error == "raise":
        remedy = (
            f"or leave such rows out: `contraflow data convert in={path} out=edits.jsonl "
            "on_error=skip`"
        )
        problems = shorten(skipped.messages)
        is_one = skipped.count == 1
        raise UserError(f"{problems} ({remedy})" if is_one else f"{problems}\n{remedy}")
    if not edits:
        reason = skipped.messages[0] if skipped.messages else "it has no rows"
        raise UserError(f"{path}: no row is an edit ({reason})")
    notes = _notes(edits, skipped)
    if path.suffix.lower() == ".jsonl" and format_of(path, format_name, columns) == "jsonl":
        notes = (*notes, *_misspelt(path))
    else:
        notes = (*notes, *_misspelt_columns(path, skipped.not_read))
    return EditsFile(edits=edits, notes=notes)


def _misspelt(path: Path) -> Iterator[str]:
    """Notes on keys that are nearly those of an edit: the first few, and how many there are."""
    found = misspelt_keys(path)
    yield from found[:MOST_NAMED]
    if len(found) > MOST_NAMED:
        more = len(found) - MOST_NAMED
        yield f"… and {more} more keys that are not read; see `contraflow data check`"


def _misspelt_columns(path: Path, not_read: Sequence[str]) -> Iterator[str]:
    for column in not_read:
        if similar := similar_key(column):
            yield f"{path}: the column {column!r} is not read; did you mean {similar!r}?"


def check_edits(edits: Sequence[Edit]) -> tuple[str, ...]:
    """Return what is wrong with the edits that cannot be audited, as `file:line: …`.

    Raises: UserError if none of them can be.
    """
    if not edits:
        raise UserError("there are no edits; name a file with edits=FILE")
    problems = tuple(
        f"{edit.place or edit.fact.fact_id}: {edit.fact.subject!r} has no edited_answer"
        for edit in edits
        if not edit.fact.edited_answer
    )
    if len(problems) == len(edits):
        file = edits[0].place.rpartition(":")[0] or "edits"
        raise UserError(
            f"{file}: none of its {len(edits)} edits has an edited_answer, so no answer can be "
            f"judged; {_REMEDY}"
        )
    return problems


def write_edits(path: str | Path, edits: Iterable[Edit]) -> int:
    """Write edits as JSONL and return their number; `read_edits` reads them back.

    A reader of facts reads the facts of this file. It is renamed into place at the end.

    Raises: UserError if the file cannot be written.
    """
    return write_lines(Path(path), (msgspec.json.encode(row_of(edit)) for edit in edits))


def _notes(edits: Sequence[Edit], skipped: Skipped) -> tuple[str, ...]:
    notes: list[str] = []
    if skipped.count:
        notes.append(f"{skipped.count} bad rows are left out; the first: {skipped.messages[0]}")
    if skipped.unread:
        notes.append(
            f"test prompts of {len(skipped.unread)} fields are not read; "
            f"the first: {skipped.unread[0]}"
        )
    if skipped.repeated:
        notes.append(
            f"{skipped.repeated} rows are about an edit of an earlier row, which has their tests "
            "too"
        )
    n_unknown = sum(not edit.fact.original_answer for edit in edits)
    if n_unknown:
        notes.append(
            f"{n_unknown} of {len(edits)} edits have no original answer; "
            "the old answer is what the control says to the edit's own prompt"
        )
    scored = [edit.editor_scores for edit in edits if edit.editor_scores is not None]
    n_unchanged = sum(scores.unchanged for scores in scored)
    if n_unchanged:
        notes.append(
            f"{n_unchanged} of {len(scored)} rows have pre equal to post: these edits were "
            "probably never applied (EasyEdit may have restored the weights)"
        )
    return tuple(notes)
