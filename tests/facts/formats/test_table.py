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
    ("name", "text", "fault"),
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
def test_errors_name_file_line_and_column(tmp_path: Path, name: str, text: str, fault: str) -> None:
    path = save(tmp_path / name, text)
    with pytest.raises(UserError) as caught:
        list(convert(path, columns=MAPPING))
    assert fault in str(caught.value)


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


def converted(path: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Return subject and edited answer of each fact, and the messages of the skipped rows."""
    skipped = Skipped()
    facts = list(convert(path, on_error="skip", skipped=skipped))
    assert skipped.count == len(skipped.messages)
    return [(fact.subject, fact.edited_answer) for fact in facts], skipped.messages


HEADER = "subject\tedit_fact\tedited_answer\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tsv_cells_are_literal(tmp_path: Path, end: str) -> None:
    text = HEADER + 'A\tE1.\t"Peru\n"Heroes" (song)\tE2.\t"x"\nB\tE3.\tNorway"\n'
    path = tmp_path / "t.tsv"
    path.write_bytes(text.replace("\n", end).encode())
    facts, messages = converted(path)
    assert facts == [("A", '"Peru'), ('"Heroes" (song)', '"x"'), ("B", 'Norway"')]
    assert messages == []


def test_bad_tsv_rows_are_named_by_their_own_line(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    rows = [
        'A\tE1.\tx"',
        "\t\t",
        "",
        "B\tE2.",
        "C\tE3.\t\u00ff",
        '"""D"" (song)"\tE4.\tx',
        "E\tE5.\ty",
    ]
    path.write_bytes((HEADER + "\n".join(rows)).encode().replace("\u00ff".encode(), b"\xff"))
    facts, messages = converted(path)
    assert facts == [("A", 'x"'), ("E", "y")]
    assert [message.removeprefix(f"{path}:") for message in messages] == [
        "3: 'subject' is empty; fill it in or delete the line",
        "5: has 2 columns, the header 3; a cell has no tab in it",
        "6: is not UTF-8 text; save the file as UTF-8",
        "7: column 'subject' is quoted as in CSV: "
        '"""D"" (song)"; TSV cells are literal, so save the table as .csv, or without quoting',
    ]


@pytest.mark.parametrize(
    ("rows", "subjects", "line", "fault"),
    [
        ('A,E1.,x\n"B" (song),E2.,x\nC,E3.,x\n', "AC", 3, "is not readable CSV"),
        ('A,E1.,"x\nB,E2.,x\nC,E3.,x\n', "BC", 2, "is not readable CSV"),
        ('A,E1.,"x\nB,E2.,x\nC,E3.,x"\nD,E4.,x\n', "D", 2, "holds 2 lines after its own"),
        ('A,E1.,"x"\nB,E2.,\u00ff\nC,E3.,x\n', "AC", 3, "is not UTF-8 text"),
    ],
)
def test_a_bad_csv_row_is_one_bad_row(
    tmp_path: Path, rows: str, subjects: str, line: int, fault: str
) -> None:
    path = tmp_path / "t.csv"
    text = "subject,edit_fact,edited_answer\n" + rows
    path.write_bytes(text.encode().replace("\u00ff".encode(), b"\xff"))
    facts, [message] = converted(path)
    assert [subject for subject, _ in facts] == list(subjects)
    assert message.startswith(f"{path}:{line}: ")
    assert fault in message


def test_an_unclosed_quote_in_a_long_csv_file(tmp_path: Path) -> None:
    """csv gives up at 128 KiB; the rows it has read by then are read again."""
    rows = [f"S{n},E{n}.,x" for n in range(20_000)]
    rows[100] = 'S100,E100.,"x'
    facts, [message] = converted(
        save(tmp_path / "t.csv", "\n".join(["subject,edit_fact,edited_answer", *rows]))
    )
    assert len(facts) == 19_999
    assert "t.csv:102: " in message


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_tables_are_streamed(tmp_path: Path, name: str) -> None:
    """A table of 4 MB is read with a small part of that in memory."""
    path = tmp_path / name
    statement = "E" * 400
    with path.open("w") as file:
        file.write("subject,edit_fact\n" if name == "t.csv" else "")
        for n in range(10_000):
            row = {"subject": f"A{n}", "edit_fact": statement}
            file.write((",".join(row.values()) if name == "t.csv" else json.dumps(row)) + "\n")
    tracemalloc.start()
    try:
        count = sum(1 for _ in convert(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 10_000
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("UTF-16", "utf-16"),
        ("UTF-16", "utf-16-be"),
        ("UTF-16", "utf-16-le"),
        ("UTF-32", "utf-32"),
        ("UTF-32", "utf-32-be"),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "tsv"])
def test_a_utf16_file_is_named_as_such(
    tmp_path: Path, suffix: str, name: str, encoding: str
) -> None:
    row = '{"subject": "A", "edit_fact": "A is B."}'
    texts = {"json": f"[{row}]", "jsonl": row, "csv": "subject,edit_fact\nA,E\n"}
    texts["tsv"] = texts["csv"].replace(",", "\t")
    path = tmp_path / f"t.{suffix}"
    mark = b"" if len(encoding) == 6 else "\ufeff".encode(encoding)
    path.write_bytes(mark + texts[suffix].encode(encoding))
    with pytest.raises(UserError) as caught:
        list(convert(path, on_error="skip"))
    assert str(caught.value) == f"{path}: is {name}; save as UTF-8"


def test_a_utf16_file_without_a_mark_is_no_json_either(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes('{"subject": "A", "edit_fact": "A is B."}'.encode("utf-16-le"))
    with pytest.raises(UserError, match=r"t\.jsonl: is UTF-16 or not text; save as UTF-8"):
        list(convert(path))


SAME_ID = [
    {"fact_id": "1", "subject": "A", "edit_fact": "A is B.", "relation": "is"},
    {"fact_id": "1", "subject": "A", "edit_fact": "A is B.", "relation": "is"},
    {"fact_id": "1", "subject": "C", "edit_fact": "C is D.", "relation": "is"},
]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_second_fact_of_an_id_is_one_bad_row(tmp_path: Path, suffix: str) -> None:
    lines = [json.dumps(row) for row in SAME_ID]
    if suffix == "csv":
        lines = [",".join(row) for row in [list(SAME_ID[0]), *(r.values() for r in SAME_ID)]]
    path = save(tmp_path / f"t.{suffix}", "\n".join(lines))
    skipped = Skipped()
    [fact] = convert(path, on_error="skip", skipped=skipped)
    assert fact.subject == "A"
    assert skipped.repeated == 1
    first = 2 if suffix == "csv" else 1
    assert skipped.messages == [
        f"{path}:{first + 2}: has the fact_id '1' of {path}:{first}, which is another fact; "
        "give each fact its own fact_id, or leave fact_id out of the file"
    ]


def test_an_edit_with_other_fields_is_one_bad_row(tmp_path: Path) -> None:
    path = save(tmp_path / "t.csv", "subject,edit_fact,relation\nA,E,r\nA,E,s\n")
    with pytest.raises(
        UserError, match=r"t\.csv:3: has the subject and edit_fact of .*t\.csv:2, but"
    ):
        list(convert(path))


def test_the_first_fact_comes_before_a_later_error(tmp_path: Path) -> None:
    path = save(tmp_path / "t.csv", "subject,edit_fact\nA,E\n,E\n")
    assert [fact.subject for fact in itertools.islice(convert(path), 1)] == ["A"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Entity;Claim;Truth", r"t\.csv:1: cells are set apart by semicolons .* save the table"),
        ("subject,edit_fact,edited_answer,edited_answer", r"t\.csv:1: has 2 columns 'edited_ans"),
    ],
)
def test_a_header_that_says_something_else_is_refused(
    tmp_path: Path, header: str, message: str
) -> None:
    """A table of Excel in much of Europe; a column whose first or second one could be meant."""
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\nParis,Paris is in Italy.,Italy,Rome\n")
    with pytest.raises(UserError, match=message):
        list(convert(path))


def test_a_column_that_is_not_read_may_be_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("subject,note,edit_fact,note\nParis,a,Paris is in Italy.,b\n")
    assert [fact.subject for fact in convert(path)] == ["Paris"]
