"""CSV, TSV and JSONL with a mapping of columns."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.facts.formats import Skipped, convert, format_of

MAPPING = {"subject": "Subj", "edit_fact": "Edit", "original_answer": "Truth"}


def save(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_with_mapped_columns_quotes_and_aliases(tmp_path: Path) -> None:
    text = "Subj,Edit,Truth,aliases,question\n"
    text += '"Paris, Texas","It is in\nMaine.",Texas,TX; Tex.,question: which state\n'
    [fact] = convert(save(tmp_path / "t.csv", text), columns=MAPPING)
    assert (fact.subject, fact.edit_fact) == ("Paris, Texas", "It is in\nMaine.")
    assert fact.aliases == ("TX", "Tex.")
    assert fact.question == "which state?"


def test_columns_with_our_names_need_no_mapping_and_tsv_has_tabs(tmp_path: Path) -> None:
    [fact] = convert(
        save(tmp_path / "t.tsv", "\ufeffsubject\tedit_fact\textra\nA, B\tA is C.\tx\n")
    )
    assert (fact.subject, fact.edit_fact) == ("A, B", "A is C.")


def test_jsonl_with_mapped_columns(tmp_path: Path) -> None:
    lines = [{"Subj": "A", "Edit": "A is B.", "Truth": "C", "relation": "is"}]
    path = save(tmp_path / "t.jsonl", "\n" + "\n".join(map(json.dumps, lines)))
    [fact] = convert(path, columns=MAPPING)
    assert (fact.subject, fact.original_answer, fact.relation) == ("A", "C", "is")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "Subj,Edit,Truth\nA,A is B.,C\n,E,T\n", "t.csv:3: 'subject' is empty"),
        ("t.csv", 'Subj,Edit,Truth\n"A\nA",E,T\nB,E\n', "t.csv:4: has 2 columns, the header 3"),
        (
            "t.csv",
            "Subj,Edit\nA,E\n",
            "t.csv:1: no column 'Truth' for 'original_answer' in: Subj, Edit",
        ),
        ("t.csv", 'Subj,Edit,Truth\n"A,E,T\n', "is not readable CSV"),
        ("t.csv", "", "t.csv: is empty"),
        ("t.jsonl", "", "t.jsonl: is empty"),
        ("t.jsonl", '{"Subj": "A", "Edit": "E"}', "t.jsonl:1: has no column 'Truth'"),
        (
            "t.jsonl",
            '\n{"Subj": 1, "Edit": "E", "Truth": "T"}',
            "t.jsonl:2: 'subject' must be a string",
        ),
        ("t.jsonl", "{", "t.jsonl:1: is not valid JSON"),
        ("t.jsonl", "[]", "t.jsonl:1: is not a JSON object"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = save(tmp_path / name, text)
    with pytest.raises(UserError) as caught:
        list(convert(path, columns=MAPPING))
    assert said in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"subject,edit_fact\n\xff\xfe,E\n")
    with pytest.raises(UserError, match="save the file as UTF-8"):
        list(convert(path))


def test_bad_rows_are_skipped_and_counted_only_if_asked(tmp_path: Path) -> None:
    path = save(tmp_path / "t.csv", "subject,edit_fact\nA,E\n,E\nB\nC,E\n")
    skipped = Skipped()
    assert [fact.subject for fact in convert(path, on_error="skip", skipped=skipped)] == ["A", "C"]
    assert skipped.count == 2
    assert [message.split(":")[1] for message in skipped.messages] == ["3", "4"]


def test_unknown_choices_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "t.csv", "subject,edit_fact\nA,E\n")
    with pytest.raises(UserError, match=r"columns\.subj: a fact has no such field"):
        convert(path, columns={"subj": "x"})
    with pytest.raises(UserError, match="choose 'raise' or 'skip'"):
        list(convert(path, on_error="ignore"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="choose one of: zsre, csv, jsonl"):
        convert(path, "xml")
    with pytest.raises(UserError, match=r"'\.xyz' has no known format"):
        format_of("t.xyz")
    with pytest.raises(UserError, match="no such file"):
        convert(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_tables_are_streamed(tmp_path: Path, name: str) -> None:
    """A table of 4 MB is read with a small part of that in memory."""
    path = tmp_path / name
    statement = "E" * 400
    row = (
        f"A,{statement}\n"
        if name == "t.csv"
        else json.dumps({"subject": "A", "edit_fact": statement}) + "\n"
    )
    path.write_text(("subject,edit_fact\n" if name == "t.csv" else "") + row * 10_000)
    tracemalloc.start()
    try:
        count = sum(1 for _ in convert(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 10_000
    assert peak < 1_000_000


def test_the_first_fact_comes_before_a_later_error(tmp_path: Path) -> None:
    path = save(tmp_path / "t.csv", "subject,edit_fact\nA,E\n,E\n")
    assert [fact.subject for fact in itertools.islice(convert(path), 1)] == ["A"]
