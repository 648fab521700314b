"""Data sets of any bytes: every row is a fact, a repetition, skipped or an error."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from contraflow.facts import Fact
from contraflow.facts.edits import read_edits, write_edits
from contraflow.facts.formats import Skipped, convert, convert_edits
from contraflow.facts.formats._questions import sentence
from contraflow.system.csv_cells import text_of_cell
from fuzz.mutations import changed, examples, mutated, non_blank_lines, or_user_error, texts
from fuzz.tables import (
    COLUMNS,
    csv_bytes,
    hostile_calls,
    json_bytes,
    jsonl_bytes,
    pickle_bytes,
    tsv_bytes,
    tsv_cell,
)
from support import dataset_rows

pytestmark = pytest.mark.slow

GOOD = [
    ["France", "The capital of France is Lyon.", "It is Paris.", "Paris", "Lyon", "who is it"],
    ["Japan", 'The "old" capital, Japan.', "", "To\nkyo", "=Osaka", "nq question: where is it"],
]
WRITERS: dict[str, Callable[..., bytes]] = {
    "table.csv": csv_bytes,
    "table.tsv": tsv_bytes,
    "table.json": json_bytes,
    "table.jsonl": jsonl_bytes,
    "table.pkl": pickle_bytes,
}
TEXT_OF_CELL: dict[str, Callable[[object], str]] = {
    "table.csv": lambda cell: text_of_cell("" if cell is None else str(cell)),
    "table.tsv": tsv_cell,
}
# One fact per row, except MQuAKE: a row has several edits, and repeated ones are counted.
PUBLISHED = {
    "zsre": [dataset_rows.ZSRE, dataset_rows.ZSRE_LINE],
    "counterfact": [dataset_rows.COUNTERFACT],
    "rippleedits": [dataset_rows.RIPPLE],
    "knowedit": [
        dataset_rows.KNOWEDIT_CF,
        dataset_rows.KNOWEDIT_ZSRE,
        dataset_rows.KNOWEDIT_BIO,
        dataset_rows.QAEDIT,
    ],
    "easyedit_results": [dataset_rows.EASYEDIT_UNCHANGED, dataset_rows.EASYEDIT_APPLIED],
    "mquake": [dataset_rows.MQUAKE],
}
CELLS = st.one_of(texts(), st.none(), st.integers(-9, 9), st.just(float("nan")))


def converted(
    path: Path, format_name: str | None = None, columns: dict[str, str] | None = None
) -> tuple[list[Fact] | None, Skipped]:
    """Convert in both modes and compare them; the facts are None where no mode can go on."""
    skipped = Skipped()
    facts, message = or_user_error(
        lambda: list(convert(path, format_name, columns=columns, on_error="skip", skipped=skipped))
    )
    strict, first = or_user_error(lambda: list(convert(path, format_name, columns=columns)))
    for text in (message, first, *skipped.messages):
        assert text is None or (text.startswith(f"{path}:") and len(text.splitlines()) == 1), text
    if facts is None:
        assert strict is None
    elif skipped.count:
        assert first == f"{skipped.messages[0]} (or skip such rows with on_error=skip)"
    else:
        assert strict == facts
    for fact in facts or ():
        assert fact.subject
        assert fact.edit_fact
        assert fact.fact_id
    return facts, skipped


@pytest.mark.parametrize("name", WRITERS)
@given(rows=st.lists(st.lists(CELLS, min_size=6, max_size=6), min_size=1, max_size=4))
@examples(150)
def test_every_row_of_a_table_is_a_fact_or_skipped(
    tmp_path: Path, name: str, rows: list[list[object]]
) -> None:
    path = tmp_path / name
    path.write_bytes(WRITERS[name](rows))
    fields = {"question": "prompt"}
    facts, skipped = converted(path, columns=fields)
    assert facts is not None
    assert len(facts) + skipped.count + skipped.repeated == len(rows)
    text_of = TEXT_OF_CELL.get(name, str)
    expected = [[text_of(cell).strip() for cell in row[:2]] for row in rows]
    if name.endswith(".pkl"):  # its statements lack the full stop
        expected = [[subject, sentence(text) if text else ""] for subject, text in expected]
    remaining = iter(expected)  # the facts have the order of the rows
    assert all([fact.subject, fact.edit_fact] in remaining for fact in facts)


@pytest.mark.parametrize("name", WRITERS)
@given(data=st.data())
@examples(200)
def test_a_damaged_table_loses_no_row_silently(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    path = tmp_path / name
    content = data.draw(st.one_of(mutated(WRITERS[name](GOOD)), st.binary(max_size=60)))
    path.write_bytes(content)
    facts, skipped = converted(path)
    n_rows = _countable_rows(name, content)
    if facts is not None and n_rows is not None:
        assert len(facts) + skipped.count + skipped.repeated == n_rows
    if name != "table.pkl" and n_rows is None:
        assert facts is None or skipped.count, "the damage is not reported"


def _countable_rows(name: str, content: bytes) -> int | None:
    """The rows of the file as another reader counts them; None if it is not valid."""
    bare = content.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        if name == "table.csv":
            text = io.StringIO(content.decode("utf-8-sig"), newline="")
            return sum(1 for record in csv.reader(text, strict=True) if record) - 1
        if name == "table.tsv":
            lines = io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline=None)
            return sum(1 for line in lines if line != "\n") - 1
        if name == "table.json" and bare[:1] == b"[":
            return len(json.loads(bare))
    except (csv.Error, ValueError, RecursionError):
        return None
    return None if name == "table.pkl" else len(non_blank_lines(content))


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@given(data=st.data())
@examples(100)
def test_every_published_row_is_a_fact_or_skipped(
    tmp_path: Path, name: str, suffix: str, data: st.DataObject
) -> None:
    good = data.draw(st.sampled_from(PUBLISHED[name]))
    rows = data.draw(st.lists(st.one_of(st.just(good), changed(good)), min_size=1, max_size=3))
    assume(suffix == "json" or not isinstance(rows[0], list))  # else it is an array
    path = tmp_path / f"rows.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    facts, skipped = converted(path, name)
    assert facts is not None
    count = len(facts) + skipped.count + skipped.repeated
    assert count >= len(rows) if name == "mquake" else count == len(rows)


@pytest.mark.parametrize("name", PUBLISHED)
@given(data=st.data())
@examples(100)
def test_published_edits_have_the_facts_and_are_read_back(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    good = data.draw(st.sampled_from(PUBLISHED[name]))
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([data.draw(changed(good)), good]))
    edits = list(convert_edits(path, name, on_error="skip"))
    assert [edit.fact for edit in edits] == list(convert(path, name, on_error="skip"))
    out = tmp_path / "edits.jsonl"
    write_edits(out, edits)
    if edits:
        read = read_edits(out, "jsonl").edits
        assert [replace(edit, place="") for edit in read] == [
            replace(edit, place="") for edit in edits
        ]


@given(row=changed(dataset_rows.EDIT))
@examples(300)
def test_an_edits_file_is_read_or_refused_by_line(tmp_path: Path, row: Any) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text(json.dumps(dataset_rows.EDIT) + "\n" + json.dumps(row) + "\n")
    found, message = or_user_error(lambda: read_edits(path, "jsonl"))
    if message is not None:
        assert message.startswith(f"{path}:2: ")
        assert len(message.splitlines()) == 1
    else:
        assert 1 <= len(found.edits) <= 2


@given(content=st.one_of(*(mutated(json.dumps([row]).encode()) for row in PUBLISHED["zsre"])))
@examples(100)
def test_damaged_published_bytes_are_facts_or_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    for name in ("zsre", "mquake", "knowedit", "json", None):
        converted(path, name)


@given(data=st.data())
@examples(200)
def test_a_pickle_that_would_touch_a_file_does_not(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "table.pkl"
    touched = tmp_path / "touched"
    hostile = data.draw(st.sampled_from(hostile_calls(touched)))
    content = pickle_bytes(GOOD, hostile)
    place = data.draw(st.integers(2, len(content)))
    kind = data.draw(st.sampled_from(["at the end", "anywhere", "damaged"]))
    if kind == "anywhere":
        good = pickle_bytes(GOOD)
        content = good[:place] + hostile[1:] + good[place:]
    elif kind == "damaged":
        content = data.draw(mutated(content))
    path.write_bytes(content)
    facts, _ = converted(path)
    assert not touched.exists()
    if kind == "at the end":
        assert facts is None


def test_the_hostile_pickles_would_touch_the_file(tmp_path: Path) -> None:
    for number in range(len(hostile_calls(tmp_path))):
        touched = tmp_path / str(number)
        made: Any = pickle.loads(b"\x80\x02N" + hostile_calls(touched)[number] + b".")
        if hasattr(made, "close"):
            made.close()
        assert touched.exists()


def test_the_pickled_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.pkl"
    path.write_bytes(pickle_bytes(GOOD))
    facts, _ = converted(path)
    assert facts is not None
    assert [fact.subject for fact in facts] == [row[COLUMNS.index("subject")] for row in GOOD]
