"""The real zsRE pickle is read, and tables that pandas of any version pickles."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.facts.formats import Skipped, convert
from contraflow.facts.formats import _inert_pickle as inert
from support.pickled_tables import (
    NAMES,
    ROWS,
    Call,
    Global,
    array,
    block,
    frame,
    pickled,
    row_labels,
    save_table,
    text_frame,
)

ZSRE = Path(__file__).parents[3] / ".." / "shared" / "data" / "zsre" / "ZSRE_1000.pkl"
needs_zsre = pytest.mark.skipif(not ZSRE.is_file(), reason="the zsRE pickle is not on this machine")


@needs_zsre
def test_the_published_table_gives_its_facts() -> None:
    skipped = Skipped()
    facts = list(convert(ZSRE, on_error="skip", skipped=skipped))
    assert len(facts) == 986
    assert skipped.repeated == 6  # edits that another row has with another question
    assert facts[0].subject == "Colt King Cobra"
    assert (
        facts[0].edit_fact
        == "The manufacturer of Colt King Cobra was Colt's Manufacturing Corporation."
    )
    assert facts[0].original_answer == "Colt's Manufacturing Company"
    assert facts[0].question == "The manufacturer of Colt King Cobra was"
    assert sum(fact.subject in fact.edit_fact for fact in facts) > 950
    assert skipped.count == 8
    assert all("'edited_answer' is empty" in message for message in skipped.messages)


@needs_zsre
def test_an_empty_cell_stops_the_conversion_with_its_row() -> None:
    with pytest.raises(UserError, match=r"ZSRE_1000\.pkl:222: column 'edited_answer' is empty"):
        list(convert(ZSRE))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_prompts_become_questions_and_blocks_become_columns(tmp_path: Path, protocol: int) -> None:
    path = save_table(tmp_path, pickled(frame(ROWS), protocol))
    first, second = convert(path)
    assert (first.question, first.subject, first.original_fact) == (
        "who wrote Hamlet?",
        "Hamlet",
        "S wrote Hamlet.",
    )
    assert (second.question, second.edited_answer) == ("The capital of France is", "Rome")


def test_scattered_columns_beside_columns_of_numbers(tmp_path: Path) -> None:
    """pandas keeps numbers in another block and lists the text columns by 64-bit numbers."""
    whole = frame(ROWS)
    frombuffer, i8 = (
        Global("numpy._core.numeric", "_frombuffer"),
        Call(Global("numpy", "dtype"), "i8", False, True),
    )
    unpickle = Global("pandas._libs.internals", "_unpickle_block")
    cells = [cell for column in zip(*ROWS, strict=True) for cell in column]
    scattered = bytearray(struct.pack("<6q", 0, 1, 3, 4, 5, 6))
    text = Call(unpickle, array(cells, 6, 2), Call(frombuffer, scattered, i8, (6,), "C"), 2)
    slice_of_one = Call(Global("builtins", "slice"), 2, 3, 1)
    numbers = Call(unpickle, Call(frombuffer, bytearray(16), i8, (1, 2), "C"), slice_of_one, 2)
    manager = whole.state["_mgr"]  # type: ignore[index]
    labels = [*NAMES[:2], "count", *NAMES[2:]]
    manager.arguments[1][0].arguments[1]["data"] = array(labels, 7)
    manager.arguments = ((text, numbers), manager.arguments[1])
    facts = list(convert(save_table(tmp_path, pickled(whole, protocol=5))))
    assert [(fact.subject, fact.edited_answer) for fact in facts] == [
        ("Hamlet", "Marlowe"),
        ("France", "Rome"),
    ]


@pytest.mark.parametrize("version", [1, 3])
def test_text_columns_of_pandas_1_and_3_are_read(tmp_path: Path, version: int) -> None:
    facts = list(convert(save_table(tmp_path, pickled(text_frame(ROWS, version), protocol=5))))
    assert [(fact.subject, fact.edited_answer, fact.question) for fact in facts] == [
        ("Hamlet", "Marlowe", "who wrote Hamlet?"),
        ("France", "Rome", "The capital of France is"),
    ]


def test_selected_rows_of_pandas_1_are_read(tmp_path: Path) -> None:
    table = frame(ROWS)
    manager = table.state["_mgr"]  # type: ignore[index]
    manager.arguments = (manager.arguments[0], [manager.arguments[1][0], row_labels(1)])
    facts = list(convert(save_table(tmp_path, pickled(table, protocol=5))))
    assert [fact.subject for fact in facts] == ["Hamlet", "France"]


@pytest.mark.parametrize(
    "cell", [float("nan"), None, Global("pandas._libs.missing", "NA"), Global("pandas", "NA")]
)
def test_an_empty_text_cell_is_one_bad_row(tmp_path: Path, cell: object) -> None:
    rows = [ROWS[0], [*ROWS[1][:2], cell, *ROWS[1][3:]]]
    skipped = Skipped()
    path = save_table(tmp_path, pickled(text_frame(rows, 3), protocol=5))
    [fact] = convert(path, on_error="skip", skipped=skipped)
    assert fact.subject == "Hamlet"
    assert "table.pkl:2: column 'edited_answer' is empty" in skipped.messages[0]


@pytest.mark.parametrize(
    "name", ["pandas.arrays.ArrowStringArray", "pandas.core.arrays.categorical.Categorical"]
)
def test_other_types_of_columns_are_refused_as_such(tmp_path: Path, name: str) -> None:
    column = Call(Global(*name.rsplit(".", maxsplit=1)), 1)
    with pytest.raises(
        UserError, match=f"'{name}', which belongs to a pandas version or to a type"
    ):
        convert(save_table(tmp_path, pickled(column)))


def test_a_text_column_of_an_unknown_layout_is_no_table(tmp_path: Path) -> None:
    for state in (None, (1,), (1, 2), (1, array(["a", "b"], 2, 1))):
        whole = text_frame(ROWS, 3)
        whole.state["_mgr"].arguments[0][0].arguments[0].state = state  # type: ignore[index]
        with pytest.raises(UserError, match="export the table as CSV or JSONL"):
            convert(save_table(tmp_path, pickled(whole)))


@pytest.mark.parametrize("bounds", [(0, 10**30, 1), (0, 5, 1), (-4, 0, 1), (0, 4, 0), ("a", 4, 1)])
def test_impossible_column_positions_are_no_table(
    tmp_path: Path, bounds: tuple[object, ...]
) -> None:
    whole = frame(ROWS)
    whole.state["_mgr"].arguments[0][0].arguments[1].arguments = bounds  # type: ignore[index]
    with pytest.raises(UserError, match="export the table as CSV or JSONL"):
        convert(save_table(tmp_path, pickled(whole)))


def test_other_column_names_can_be_mapped(tmp_path: Path) -> None:
    path = save_table(tmp_path, pickled(frame(ROWS, [*NAMES[:3], "Subj", *NAMES[4:]])))
    with pytest.raises(UserError, match="column 'subject' is missing; the table has: prompt"):
        convert(path)
    assert [fact.subject for fact in convert(path, columns={"subject": "Subj"})] == [
        "Hamlet",
        "France",
    ]


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", b"\x80\x04", b"\x80\x04\x8e" + b"\xff" * 8 + b"."]
)
def test_what_is_no_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"table\.pkl: is not a readable pickle"):
        convert(save_table(tmp_path, content))


@pytest.mark.parametrize(
    "value",
    [
        3,
        {"prompt": ["a"]},
        frame([[*ROWS[0][:4], "E", "O"]], [*NAMES[:5]]),  # a column without a label
        Call(Global("pandas.core.frame", "DataFrame"), state={"_mgr": 1}),
        block(["a"], 0, 1),
    ],
)
def test_other_contents_are_no_table(tmp_path: Path, value: object) -> None:
    with pytest.raises(UserError, match="export the table as CSV or JSONL"):
        convert(save_table(tmp_path, pickled(value)))


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inert, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="is larger than"):
        convert(save_table(tmp_path, pickled(frame(ROWS))))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pkl: cannot be read"):
        convert(tmp_path / "none.pkl")
