"""Conversion of other data sets to facts and edits: a module and an entry of `FORMATS` per format.

A format's reader yields rows, from which `convert` makes facts and `convert_edits` edits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from contraflow.errors import UserError, on_one_line
from contraflow.facts import Fact
from contraflow.facts.edit import Edit
from contraflow.facts.formats import (
    counterfact,
    easyedit_results,
    knowedit,
    mquake,
    rippleedits,
    table,
    zsre,
)
from contraflow.facts.formats._json_rows import first_row, rows_about
from contraflow.facts.formats._rows import OnError, RowSource, Skipped, edits_of, facts_of

__all__ = [
    "FORMATS",
    "OnError",
    "Reader",
    "Skipped",
    "convert",
    "convert_edits",
    "format_of",
    "rows_about",
]


class Reader(Protocol):
    """A reader of one format; it streams the rows of a file."""

    def __call__(
        self,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        ignore: Sequence[str] = (),
    ) -> RowSource: ...


FORMATS: dict[str, Reader] = {
    "zsre": zsre.read,
    "csv": table.read_csv,
    "jsonl": table.read_jsonl,
    "json": table.read_json,
    "counterfact": counterfact.read,
    "mquake": mquake.read,
    "rippleedits": rippleedits.read,
    "knowedit": knowedit.read,
    "easyedit_results": easyedit_results.read,
}
_FORMAT_OF_SUFFIX = {".pkl": "zsre", ".pickle": "zsre", ".csv": "csv", ".tsv": "csv"}
_JSON_SUFFIXES = {".json": "json", ".jsonl": "jsonl"}


def convert(
    path: str | Path,
    format_name: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    on_error: OnError = "raise",
    skipped: Skipped | None = None,
    ignore: Sequence[str] = (),
) -> Iterator[Fact]:
    """Yield the facts of a file, one by one as they are read where rows do not add to another.

    Without `format_name` the format follows from the suffix, and for JSON from the first row. With
    `on_error="skip"` bad rows are recorded in `skipped`. A published format rejects rows with
    unknown fields, except those in `ignore`.

    Raises: UserError for an unknown format, an unreadable file, and (with `on_error="raise"`) the
    first bad row, as `file:line: …`.
    """
    reader = FORMATS[format_of(path, format_name, columns)]
    return facts_of(reader(path, columns=columns, ignore=ignore), on_error, skipped)


def convert_edits(
    path: str | Path,
    format_name: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    on_error: OnError = "raise",
    skipped: Skipped | None = None,
    ignore: Sequence[str] = (),
    on_edit: Callable[[], None] | None = None,
) -> Iterator[Edit]:
    """Yield the edits of a file, with their paraphrases and probes; the facts are `convert`'s.

    An edit of several rows has the probes of all of them, so the file is read to its end before
    the first edit is yielded; `on_edit` is called as each is read. Probes in a form that is not
    known are recorded in `skipped.unread`.

    Raises: UserError, as `convert`.
    """
    reader = FORMATS[format_of(path, format_name, columns)]
    return edits_of(reader(path, columns=columns, ignore=ignore), on_error, skipped, on_edit)


def format_of(
    path: str | Path, format_name: str | None = None, columns: Mapping[str, str] | None = None
) -> str:
    """Return `format_name`, or without one the format of the suffix or of the first row.

    Raises: UserError if the name is unknown or no format matches.
    """
    known = ", ".join(FORMATS)
    if format_name is not None:
        if format_name not in FORMATS:
            raise UserError(f"format={format_name!r} is unknown; choose one of: {known}")
        return format_name
    suffix = Path(path).suffix.lower()
    if suffix in _JSON_SUFFIXES:
        return _json_format(Path(path), _JSON_SUFFIXES[suffix], bool(columns))
    if suffix not in _FORMAT_OF_SUFFIX:
        raise UserError(f"{path}: suffix {suffix!r} has no known format; give format= {known}")
    return _FORMAT_OF_SUFFIX[suffix]


def _json_format(path: Path, table_format: str, has_mapping: bool) -> str:
    """Return a published format if the first row has its fields, else `table_format`.

    It is `table_format` as well if columns are mapped or have the names of fact fields.
    """
    if has_mapping or (table_format == "jsonl" and not _has_readable_row(path)):
        return table_format
    row = first_row(path)
    if {"subject", "edit_fact"} <= row.keys():
        return table_format
    published = _published_format(row)
    if published is None and table_format == "json" and row:
        names = on_one_line(", ".join(row))
        raise UserError(
            f"{path}: the fields of its first row ({names}) match no format; "
            f"give format= {', '.join(FORMATS)}, or map them with columns.subject=NAME "
            "columns.edit_fact=NAME"
        )
    return published or table_format


def _has_readable_row(path: Path) -> bool:
    """Whether the first row is an object; if not, the table reader has the better message."""
    try:
        return bool(first_row(path))
    except UserError:
        return False


def _published_format(row: dict[str, Any]) -> str | None:
    rewrite = row.get("requested_rewrite")
    if rewrite is not None:
        return _rewrite_format(rewrite, has_scores=bool({"pre", "post"} & row.keys()))
    if isinstance(row.get("edit"), dict):
        return "rippleedits"
    if {"src", "alt"} <= row.keys() or {"input", "output", "alternatives"} <= row.keys():
        return "zsre"
    names_target = "target_new" in row or {"subject", "target"} <= row.keys()
    if ("prompt" in row and names_target) or {"concept", "labels"} <= row.keys():
        return "knowedit"
    return None


def _rewrite_format(rewrite: object, *, has_scores: bool) -> str:
    """Tell the formats apart that call an edit `requested_rewrite`.

    has_scores: of an editor, before or after the edit.
    """
    if isinstance(rewrite, list):
        return "mquake"
    has_text = isinstance(rewrite, dict) and isinstance(rewrite.get("target_new"), str)
    return "easyedit_results" if has_text or has_scores else "counterfact"
