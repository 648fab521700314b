"""Data sets of other shapes, as facts: one file per format, one line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.formats import counterfact, knowedit, mquake, rippleedits, table, zsre
from contraflow.facts.formats._json_rows import first_row, rows_about
from contraflow.facts.formats._rows import OnError, Skipped

__all__ = ["FORMATS", "Converter", "OnError", "Skipped", "convert", "format_of", "rows_about"]


class Converter(Protocol):
    """Reads a file of one format as a stream of facts."""

    def __call__(
        self,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        on_error: OnError = "raise",
        skipped: Skipped | None = None,
        ignore: Sequence[str] = (),
    ) -> Iterator[Fact]: ...


FORMATS: dict[str, Converter] = {
    "zsre": zsre.read,
    "csv": table.read_csv,
    "jsonl": table.read_jsonl,
    "json": table.read_json,
    "counterfact": counterfact.read,
    "mquake": mquake.read,
    "rippleedits": rippleedits.read,
    "knowedit": knowedit.read,
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
    """Facts of a file; the format is told by its name, and for JSON by its first row, where none is
    given.

    Bad rows raise `UserError` with `file:line`, or with `on_error="skip"` are noted in `skipped`. A
    published format refuses fields that it does not know, but for those in `ignore`.
    """
    reader = FORMATS[format_of(path, format_name, columns)]
    return reader(path, columns=columns, on_error=on_error, skipped=skipped, ignore=ignore)


def format_of(
    path: str | Path, format_name: str | None = None, columns: Mapping[str, str] | None = None
) -> str:
    """The given format if it is known, or else the one that the suffix or the first row stands for."""
    known = ", ".join(FORMATS)
    if format_name is not None:
        if format_name not in FORMATS:
            raise UserError(f"format={format_name!r} is unknown; choose one of: {known}")
        return format_name
    suffix = Path(path).suffix.lower()
    if suffix in _JSON_SUFFIXES:
        return _json_format(Path(path), _JSON_SUFFIXES[suffix], bool(columns))
    if suffix not in _FORMAT_OF_SUFFIX:
        raise UserError(f"{path}: suffix {suffix!r} tells no format; give format= {known}")
    return _FORMAT_OF_SUFFIX[suffix]


def _json_format(path: Path, table_format: str, has_mapping: bool) -> str:
    """A published format by the fields of the first row; a table where columns are mapped or are
    ours.
    """
    if has_mapping or (table_format == "jsonl" and not _starts_well(path)):
        return table_format
    row = first_row(path)
    if {"subject", "edit_fact"} <= row.keys():
        return table_format
    published = _published_format(row)
    if published is None and table_format == "json" and row:
        raise UserError(
            f"{path}: the fields of its first row ({', '.join(row)}) tell no format; give format= "
            f"{', '.join(FORMATS)}, or map them with columns.subject=NAME columns.edit_fact=NAME"
        )
    return published or table_format


def _starts_well(path: Path) -> bool:
    """Whether the first row can be read at all; the reader of tables says better what is wrong with
    it.
    """
    try:
        return bool(first_row(path))
    except UserError:
        return False


def _published_format(row: dict[str, Any]) -> str | None:
    rewrite = row.get("requested_rewrite")
    if rewrite is not None:
        return "mquake" if isinstance(rewrite, list) else "counterfact"
    if isinstance(row.get("edit"), dict):
        return "rippleedits"
    if {"src", "alt"} <= row.keys() or {"input", "output", "alternatives"} <= row.keys():
        return "zsre"
    if {"prompt", "target_new"} <= row.keys() or {"concept", "labels"} <= row.keys():
        return "knowedit"
    return None
