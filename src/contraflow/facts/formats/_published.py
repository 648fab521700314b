"""What the readers of published data sets share: a typed row, a stream, and errors that name the
field.

A file whose fields are not those that its authors published may mean something else by them, so an
unknown, missing or retyped field stops the conversion, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.fact import BadRowError, fact_id_for
from contraflow.facts.formats._json_rows import json_rows
from contraflow.facts.formats._rows import OnError, Skipped, facts_from_rows
from contraflow.facts.formats._seen import Seen

Row = TypeVar("Row", bound=msgspec.Struct)
Pairs = Iterator[tuple[str, Mapping[str, object] | BadRowError]]


@dataclass(frozen=True)
class Published(Generic[Row]):
    """One published shape: the type of a row, and the facts that a row states."""

    name: str
    row_type: type[Row]
    facts_of: Callable[[Row], Iterable[Mapping[str, object]]]
    repeats: bool = False  # the same edit may stand in several rows: it becomes one fact

    def __call__(
        self,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        on_error: OnError = "raise",
        skipped: Skipped | None = None,
        ignore: Sequence[str] = (),
    ) -> Iterator[Fact]:
        """Facts of the file, streamed; fields named in `ignore` are left unread."""
        if columns:
            raise UserError(
                f"columns.{next(iter(columns))}: {self.name} has fields of its own; "
                "columns. maps tables (format=csv, jsonl or json)"
            )
        pairs = self._pairs(Path(path), frozenset(ignore))
        return facts_from_rows(_once(pairs, skipped) if self.repeats else pairs, on_error, skipped)

    def _pairs(self, path: Path, ignore: frozenset[str]) -> Pairs:
        for place, source in json_rows(path):
            if isinstance(source, BadRowError):
                yield place, source
                continue
            try:
                yield from ((place, fact) for fact in self.facts_of(self._row(source, ignore)))
            except BadRowError as error:
                yield place, error

    def _row(self, source: dict[str, Any], ignore: frozenset[str]) -> Row:
        wanted = (
            {key: value for key, value in source.items() if key not in ignore} if ignore else source
        )
        try:
            return msgspec.convert(wanted, self.row_type)
        except msgspec.ValidationError as error:
            raise BadRowError(
                f"is not a {self.name} row as published: {error}; leave a field unread with ignore=FIELD, "
                "or map the fields with format=json columns.FIELD=NAME"
            ) from None


def _once(pairs: Pairs, skipped: Skipped | None) -> Pairs:
    """Each edit the first time it is met."""
    seen = Seen()
    for place, row in pairs:
        if isinstance(row, BadRowError) or seen.add(
            fact_id_for(str(row["subject"]), str(row["edit_fact"]))
        ):
            yield place, row
        elif skipped is not None:
            skipped.repeated += 1


def needed(value: str, field: str) -> str:
    """The text of a field that must say something. Raises: BadRowError."""
    if not value.strip():
        raise BadRowError(f"field '{field}' is empty; fill it in or leave the row out")
    return value.strip()
