"""The reader of published data sets: typed rows, streaming, and errors that name the field.

Fields that differ from the published ones may have another meaning. An unknown or missing field, or
one of another type, therefore is an error that names the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from contraflow.errors import UserError
from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._json_rows import json_rows
from contraflow.facts.formats._rows import RowSource

Row = TypeVar("Row", bound=msgspec.Struct)
Pairs = Iterator[tuple[str, Mapping[str, object] | BadRowError]]


@dataclass(frozen=True)
class Published(Generic[Row]):
    """A published format: the type of a row, and the function that converts it to rows of edits."""

    name: str
    row_type: type[Row]
    facts_of: Callable[[Row], Iterable[Mapping[str, object]]]

    def __call__(
        self,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        ignore: Sequence[str] = (),
    ) -> RowSource:
        """Stream the rows of the file, without reading the fields in `ignore`.

        Raises: UserError if `columns` is given, and as `json_rows`.
        """
        if columns:
            raise UserError(
                f"columns.{next(iter(columns))}: {self.name} has fields of its own; "
                "columns. maps tables (format=csv, jsonl or json)"
            )
        return RowSource(self._pairs(Path(path), frozenset(ignore)), same_edit_is_one_fact=True)

    def _pairs(self, path: Path, ignore: frozenset[str]) -> Pairs:
        for place, source in json_rows(path):
            if isinstance(source, BadRowError):
                yield place, source
                continue
            try:
                for fact in self.facts_of(self._row(source, ignore)):
                    yield place, fact
            except BadRowError as error:
                yield place, error

    def _row(self, source: dict[str, Any], ignore: frozenset[str]) -> Row:
        if ignore:
            source = {key: value for key, value in source.items() if key not in ignore}
        try:
            return msgspec.convert(source, self.row_type)
        except msgspec.ValidationError as error:
            raise BadRowError(
                f"is no row of {self.name} as published: {error}; "
                "leave a field unread with ignore=FIELD, "
                "or map the fields with format=json columns.FIELD=NAME"
            ) from None
        except UnicodeEncodeError as error:
            raise BadRowError(
                f"has a field whose name has half of a character: {error.object!r}; "
                "rename it, or leave the row out"
            ) from None


def needed(value: str, field: str) -> str:
    """Return the stripped text of a required field. Raises: BadRowError if it is blank."""
    if not value.strip():
        raise BadRowError(f"field '{field}' is empty; fill it in or leave the row out")
    return value.strip()
