"""Data sets of other shapes, as facts: one file per format, one line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from contraflow.converters import table, zsre_pickle
from contraflow.converters._rows import OnError, Skipped
from contraflow.errors import UserError
from contraflow.facts import Fact

__all__ = ["FORMATS", "Converter", "OnError", "Skipped", "convert", "format_of"]


class Converter(Protocol):
    """Reads a file of one format as a stream of facts."""

    def __call__(
        self,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        on_error: OnError = "raise",
        skipped: Skipped | None = None,
    ) -> Iterator[Fact]: ...


FORMATS: dict[str, Converter] = {
    "zsre": zsre_pickle.read,
    "csv": table.read_csv,
    "jsonl": table.read_jsonl,
}
_FORMAT_OF_SUFFIX = {".pkl": "zsre", ".pickle": "zsre", ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl"}


def convert(
    path: str | Path,
    format_name: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    on_error: OnError = "raise",
    skipped: Skipped | None = None,
) -> Iterator[Fact]:
    """Facts of a file; the format is told by its name where none is given.

    Bad rows raise `UserError` with `file:line`, or with `on_error="skip"` are noted in `skipped`.
    """
    reader = FORMATS[format_of(path, format_name)]
    return reader(path, columns=columns, on_error=on_error, skipped=skipped)


def format_of(path: str | Path, format_name: str | None = None) -> str:
    """The given format if it is known, or else the one the suffix stands for."""
    known = ", ".join(FORMATS)
    if format_name is not None:
        if format_name not in FORMATS:
            raise UserError(f"format={format_name!r} is unknown; choose one of: {known}")
        return format_name
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMAT_OF_SUFFIX:
        raise UserError(f"{path}: suffix {suffix!r} tells no format; give format= {known}")
    return _FORMAT_OF_SUFFIX[suffix]
