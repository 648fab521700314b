"""Records of CSV and TSV files, streamed, with the line at which each begins.

A CSV cell may be quoted, and a quoted cell may hold commas and line breaks (RFC 4180). A TSV cell
is literal: quotation marks are ordinary characters (IANA, text/tab-separated-values). A bad record
is one bad row: reading goes on at the next line.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator

from contraflow.facts.fact import BadRowError

Records = Iterator[tuple[int, list[str] | BadRowError]]
_UNDECODED = re.compile("[\udc80-\udcff]")
# A whole cell in quotation marks, with a doubled one inside: what a CSV writer makes of a quote.
_QUOTED_AS_IN_CSV = re.compile(r'"(?=.*"".*"$)(?:[^"]|"")*"', re.DOTALL)


class _Lines:
    """Numbered lines of a file, which can be put back up to the start of the current record."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._waiting: deque[str] = deque()
        self._of_record: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._lines)
        self._of_record.append(line)
        self.number += 1
        return line

    def start_record(self) -> int:
        """Forget the lines of the last record; return the number of the next line."""
        self._of_record.clear()
        return self.number + 1

    def put_back_all_but_first(self) -> None:
        """Make the line after the first one of this record the next line."""
        again = self._of_record[1:]
        self._waiting.extendleft(reversed(again))
        self.number -= len(again)


def csv_records(lines: Iterable[str]) -> Records:
    """Yield (line number from 1, cells or error) of the records of a CSV file that are not blank.

    After a record that cannot be read, reading goes on at its second line: an opening quotation
    mark without a closing one does not take the rest of the file with it.
    """
    source = _Lines(lines)
    reader = csv.reader(source, strict=True)
    while True:
        line = source.start_record()
        record: list[str] | BadRowError | None
        try:
            record = next(reader, None)
        except csv.Error as error:
            record = BadRowError(
                f"is not readable CSV ({error}); put a cell that contains a quotation mark in "
                "quotation marks, and write the mark inside twice"
            )
            source.put_back_all_but_first()
        if record is None:
            return
        if record:
            yield line, _decoded(record)


def tsv_records(lines: Iterable[str]) -> Records:
    """Yield (line number from 1, cells or error) of the lines of a TSV file that are not blank."""
    for number, line in enumerate(lines, start=1):
        bare = line.removesuffix("\n")
        if bare:
            yield number, _decoded(bare.split("\t"))


def text_of_tsv_cell(cell: str) -> str:
    """Return the cell as it is.

    Raises: BadRowError for a cell that a CSV writer has quoted, whose marks would be read as text.
    """
    if _QUOTED_AS_IN_CSV.fullmatch(cell):
        raise BadRowError(
            f"is quoted as in CSV: {cell}; TSV cells are literal, so save the table as .csv, or "
            "without quoting"
        )
    return cell


def check_swallowed(cell: str, n_columns: int) -> None:
    """Check that a quoted CSV cell of a fact does not hold the rows after its own.

    A stray quotation mark at the start of a cell and one at the end of a later cell enclose whole
    rows, which are valid CSV. Two columns are not enough to tell: a sentence has commas, too.

    Raises: BadRowError for a cell with a line that has as many columns as the table.
    """
    later_lines = cell.splitlines()[1:]
    if n_columns > 2 and any(line.count(",") == n_columns - 1 for line in later_lines):
        raise BadRowError(
            f"holds {len(later_lines)} lines after its own, with whole rows: a quotation mark "
            "opens the cell, and one in a later row closes it; write a mark inside twice and put "
            "the cell in quotation marks, or write the cell on one line"
        )


def _decoded(record: list[str] | BadRowError) -> list[str] | BadRowError:
    if not isinstance(record, BadRowError) and any(map(_UNDECODED.search, record)):
        return BadRowError("is not UTF-8 text; save the file as UTF-8")
    return record
