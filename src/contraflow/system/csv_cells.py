"""Texts in CSV cells that a spreadsheet must not run as a formula.

A cell that begins with =, +, -, @, a tab or a line break gets an apostrophe in front, which
spreadsheets take as "this is text" (OWASP, CSV injection). So does one that begins with
apostrophes before such a character: reading removes one apostrophe and gives back every text.
"""

from __future__ import annotations

import re

# A spreadsheet reads the wide forms of these signs in the same way.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def as_text_cell(text: str) -> str:
    """Return the cell of a text; a plain number such as -10 stays as it is."""
    is_formula = _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None
    return f"'{text}" if is_formula else text


def text_of_cell(cell: str) -> str:
    """Return the text of a cell that `as_text_cell` wrote."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
