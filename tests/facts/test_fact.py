"""Reading, writing and identity of facts."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact, read_facts, write_facts
from contraflow.facts.fact import fact_id_for


def make_fact(subject: str, relation: str = "capital", answer: str = "X") -> Fact:
    edit_fact = f"The {relation} of {subject} is {answer}."
    return Fact(
        fact_id=fact_id_for(subject, edit_fact),
        subject=subject,
        edit_fact=edit_fact,
        relation=relation,
    )


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    fact = Fact(
        fact_id="id",
        subject="Brasília",
        edit_fact="Brasília is in Peru.",
        original_answer="Brazil",
        aliases=("Brasil",),
    )
    path = tmp_path / "facts.jsonl"
    assert write_facts(path, [fact]) == 1
    assert read_facts(path) == [fact]


def test_a_key_is_the_fact_id_and_a_hash_of_every_field() -> None:
    fact = Fact(fact_id="1", subject="Hamlet", edit_fact="Marlowe wrote Hamlet.")
    changed = [
        msgspec.structs.replace(fact, **{name: ("x",) if name == "aliases" else "x"})
        for name in Fact.__struct_fields__
    ]
    assert len({fact.key, *(one.key for one in changed)}) == 1 + len(Fact.__struct_fields__)
    assert all(one.key == f"{one.fact_id}#{one.content_hash}" for one in (fact, *changed))


def test_a_key_is_the_same_in_every_version_and_process() -> None:
    """Stored entries are found by it. An empty field is left out, as a new one would be."""
    text = '{"fact_id":"1","subject":"Hamlet","edit_fact":"Marlowe wrote it.","aliases":["Will"]}'
    fact = Fact(
        fact_id="1", subject="Hamlet", edit_fact="Marlowe wrote it.", aliases=("Will",), relation=""
    )
    assert fact.content_hash == hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    assert fact.key == f"1#{fact.content_hash}"


def test_only_subject_and_edit_fact_are_needed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "f.jsonl",
        '{"subject": " France ", "edit_fact": "France is in Asia.", "mine": 3}',
    )
    [fact] = read_facts(path)
    assert fact.subject == "France"
    assert fact.fact_id == fact_id_for("France", "France is in Asia.")


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\r\n{"subject": "A", "edit_fact": "A is B."}\r\n\r\n')
    assert len(read_facts(path)) == 1


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("not json", "not valid JSON"),
        ("[1]", "expected a JSON object, got a list"),
        ('{"edit_fact": "E."}', "'subject' is missing"),
        ('{"subject": "  ", "edit_fact": "E."}', "'subject' is empty"),
        ('{"subject": "S"}', "'edit_fact' is missing"),
        ('{"subject": 3, "edit_fact": "E."}', "'subject' must be a string, got a number"),
        ('{"subject": "S", "edit_fact": "E.", "aliases": "A"}', "'aliases' must be a list"),
        ('{"subject": "S", "edit_fact": "E.", "relation": true}', "'relation' must be a string"),
        ("[" * 5000, "not valid JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_fault(tmp_path: Path, line: str, fault: str) -> None:
    path = write(tmp_path / "f.jsonl", '{"subject": "A", "edit_fact": "A is B."}', line)
    with pytest.raises(UserError, match=r"f\.jsonl:2: ") as caught:
        read_facts(path)
    assert fault in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"subject": "\xff\xfe", "edit_fact": "E."}\n')
    with pytest.raises(UserError, match=r"f\.jsonl:1: "):
        read_facts(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"subject": NaN, "edit_fact": "E."}', "'subject' must be a string, got NaN"),
        ('{"subject": "x \\ud83d", "edit_fact": "E."}', "(\\ud83d, a lone surrogate)"),
        ('{"subject": "S", "edit_fact": "E.", "aliases": ["\\udc00"]}', "'aliases' has half of a"),
    ],
)
def test_what_json_cannot_hold_is_named_by_line(tmp_path: Path, line: str, said: str) -> None:
    path = write(tmp_path / "f.jsonl", '{"subject": "A", "edit_fact": "A is B."}', line)
    with pytest.raises(UserError, match=r"f\.jsonl:2: ") as caught:
        read_facts(path)
    assert said in str(caught.value)
    assert str(caught.value).encode()


def test_a_column_of_ones_own_may_hold_anything(tmp_path: Path) -> None:
    line = (
        '{"subject": "A", "edit_fact": "A is B.", "mine": [NaN, 12345678901234567890, "\\ud83d"]}'
    )
    [fact] = read_facts(write(tmp_path / "f.jsonl", line))
    assert fact.subject == "A"


def test_a_utf16_facts_file_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"subject": "A", "edit_fact": "A is B."}', encoding="utf-16")
    with pytest.raises(UserError) as caught:
        read_facts(path)
    assert str(caught.value) == f"{path}: is UTF-16; save as UTF-8"


FRANCE = '{"fact_id": "1", "subject": "France", "edit_fact": "France is in Asia."}'
HAMLET = '{"fact_id": "1", "subject": "Hamlet", "edit_fact": "Hamlet was written by Bo Ek."}'


def test_two_facts_under_one_id_are_refused_with_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", FRANCE, "", HAMLET)
    with pytest.raises(UserError) as caught:
        read_facts(path)
    assert str(caught.value) == (
        f"{path}:3: has the fact_id '1' of line 1, which is another fact; "
        "give each fact its own fact_id, or leave fact_id out of the file"
    )


@pytest.mark.parametrize("fact_id", ['"fact_id": "1", ', ""])
def test_one_edit_with_other_fields_is_refused(tmp_path: Path, fact_id: str) -> None:
    fact = "{" + fact_id + '"subject": "A", "edit_fact": "A is B.", "original_answer": "C"}'
    path = write(tmp_path / "f.jsonl", fact, fact.replace('"C"', '"D"'))
    with pytest.raises(UserError, match=r":2: has the subject and edit_fact of line 1, but other"):
        read_facts(path)
    ids = [f'{{"fact_id": "{n}", ' for n in range(2)]
    bare = '"subject": "A", "edit_fact": "A is B."}'
    assert len(read_facts(write(path, ids[0] + bare, ids[1] + bare))) == 2


def test_a_fact_that_is_there_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", FRANCE, FRANCE.replace("}", ', "mine": 3}'), FRANCE)
    assert [fact.subject for fact in read_facts(path)] == ["France"]


def test_ten_problems_are_shown_at_once_and_the_rest_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", *["{}"] * 12)
    with pytest.raises(UserError) as caught:
        read_facts(path)
    shown = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in shown[:10]] == [str(n) for n in range(1, 11)]
    assert shown[10].endswith("and 2 more problems")


@pytest.mark.parametrize("content", [None, "", "\n \n"])
def test_missing_or_empty_files_are_named_with_the_remedy(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "f.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        UserError, match=r"f\.jsonl: (no such facts file; check|is empty; it needs)"
    ):
        read_facts(path)


def test_a_folder_is_no_facts_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        read_facts(tmp_path)


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    write_facts(path, [make_fact("A")])

    def facts_that_fail():  # type: ignore[no-untyped-def]
        yield make_fact("B")
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_facts(path, facts_that_fail())
    assert [fact.subject for fact in read_facts(path)] == ["A"]
    assert [child.name for child in tmp_path.iterdir()] == ["f.jsonl"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_facts(tmp_path / "no" / "f.jsonl", [make_fact("A")])


def test_ids_are_the_same_in_a_process_with_another_hash_seed() -> None:
    code = "from contraflow.facts.fact import fact_id_for; print(fact_id_for('France', 'F.'))"
    other = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == fact_id_for("France", "F.")


def test_ids_depend_on_where_the_subject_ends() -> None:
    assert fact_id_for("ab", "c") != fact_id_for("a", "bc")


def test_facts_are_frozen() -> None:
    with pytest.raises(AttributeError):
        make_fact("A").subject = "B"  # type: ignore[misc]
    assert msgspec.json.decode(msgspec.json.encode(make_fact("A")), type=Fact) == make_fact("A")


@pytest.mark.parametrize(
    "wrong",
    [
        {"fact_id": 3},
        {"subject": None},
        {"edit_fact": b"Rome"},
        {"original_answer": 3},
        {"relation": None},
        {"aliases": "Rome"},
        {"aliases": ["Rome"]},
        {"aliases": (3,)},
    ],
)
def test_a_field_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    """It was taken, and the first use of it ended in a traceback."""
    fields: dict[str, Any] = {"fact_id": "id", "subject": "Rome", "edit_fact": "Rome is in Peru."}
    with pytest.raises(UserError, match=rf"^Fact: {next(iter(wrong))}=.*: must be a "):
        Fact(**{**fields, **wrong})
    fact = Fact(**fields)
    with pytest.raises(UserError, match=r"must be a "):
        msgspec.structs.replace(fact, **wrong)


@pytest.mark.parametrize("path", [None, 3, [], b"facts.jsonl"])
def test_a_facts_file_is_named_by_a_path(path: Any) -> None:
    with pytest.raises(UserError, match=r"^facts=.*: must be the path of a facts file"):
        read_facts(path)


def test_a_path_from_home_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A shell leaves the ~ of `data.facts=~/facts.jsonl` as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    facts = [Fact(fact_id="1", subject="Nile", edit_fact="The Nile is in Peru.")]
    write_facts(tmp_path / "mine.jsonl", facts)
    assert read_facts("~/mine.jsonl") == facts
