"""Texts that spreadsheets would run as formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contraflow.system.csv_cells import as_text_cell, text_of_cell


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1-2", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''-x", "-", "-1-1", "＝1+1"],
)
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert as_text_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "-10", "+3.5", "-.5e-3", "1=2", "'tis", "a@b.c", " =1"])
def test_other_texts_and_numbers_stay(text: str) -> None:
    assert as_text_cell(text) == text


@given(st.text(alphabet="'=+-@\t\r\n1.e a") | st.text())
def test_reading_gives_back_every_text(text: str) -> None:
    assert text_of_cell(as_text_cell(text)) == text
    assert not as_text_cell(text).startswith(("=", "@", "\t", "\r", "\n"))
