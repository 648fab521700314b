"""Edits files: what is read, refused, noted and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contraflow.cli import main
from contraflow.errors import UserError
from contraflow.facts import Fact, read_facts
from contraflow.facts.check import check_facts
from contraflow.facts.edits import (
    Edit,
    EditorScores,
    Probe,
    check_edits,
    prompt_of,
    read_edits,
    write_edits,
)
from support.dataset_rows import (
    COUNTERFACT,
    EASYEDIT_APPLIED,
    EASYEDIT_UNCHANGED,
    EDIT,
    KNOWEDIT_BIO,
    KNOWEDIT_CF,
    MQUAKE,
    RIPPLE,
    ZSRE,
)

NORWAY: dict[str, Any] = {
    "subject": "Norway",
    "edit_fact": "The capital of Norway is Bergen.",
    "original_answer": "Oslo",
    "edited_answer": "Bergen",
}


def save(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def without_place(edits: tuple[Edit, ...]) -> list[Edit]:
    return [msgspec.structs.replace(edit, place="") for edit in edits]


def test_a_facts_file_is_an_edits_file(tmp_path: Path) -> None:
    path = save(tmp_path / "f.jsonl", NORWAY)
    (edit,) = read_edits(path).edits
    assert edit.fact == read_facts(path)[0]
    assert edit == Edit(fact=edit.fact, prompt="The capital of Norway is", place=f"{path}:1")


def test_every_key_of_an_edit_is_read(tmp_path: Path) -> None:
    (edit,) = read_edits(save(tmp_path / "f.jsonl", EDIT)).edits
    assert edit.prompt == "Norway's capital city is"
    assert edit.paraphrases == ("What is the capital of Norway?",)
    assert edit.locality == (
        Probe(kind="locality/own", prompt="Norway borders", answers=("Sweden",)),
    )
    assert edit.portability == (
        Probe(kind="multi_hop", prompt="On which fjord is Norway's capital?"),
    )
    assert edit.prefix == "The capital of Norway is Bergen.\n"
    assert edit.subject_aliases == ("the Kingdom of Norway",)
    assert edit.edited_aliases == ("Bjørgvin",)
    assert edit.editor_scores == EditorScores(pre=0.0, post=0.5)


@pytest.mark.parametrize(
    ("edit_fact", "edited", "question", "original_fact", "prompt"),
    [
        ("The capital of Norway is Bergen.", "Bergen", "", "", "The capital of Norway is"),
        ("The NBA is based in the U.S.", "the U.S.", "", "", "The NBA is based in"),
        ("Bergen is its capital.", "Bergen", "Which is it?", "", "Which is it?"),
        ("Bergen is its capital.", "Bergen", "", "Oslo is its capital.", "What is its capital?"),
        ("It is Oldbergen.", "bergen", "", "", ""),
    ],
)
def test_the_prompt_follows_from_the_fact(
    edit_fact: str, edited: str, question: str, original_fact: str, prompt: str
) -> None:
    fact = Fact(
        fact_id="n",
        subject="Norway",
        edit_fact=edit_fact,
        edited_answer=edited,
        question=question,
        original_fact=original_fact,
        original_answer="Oslo",
    )
    assert prompt_of(fact) == prompt


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"prompt": 3}, "'prompt' must be a string"),
        ({"paraphrases": "one"}, "'paraphrases' must be a list of strings"),
        ({"subject_aliases": [1]}, "'subject_aliases' must be a list of strings"),
        ({"locality": {"prompt": "a"}}, "'locality' must be a list of objects with kind"),
        ({"locality": [{"kind": "a", "prompt": " "}]}, "'locality' has a probe with an empty"),
        ({"portability": [{"kind": "a"}]}, "'portability' must be a list of objects with kind"),
        ({"editor_scores": {"pre": "x"}}, "'editor_scores' must have pre, post and unchanged"),
        ({"edit_fact": ""}, "'edit_fact' is empty"),
    ],
)
def test_a_bad_key_is_named_with_its_line(
    tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    path = save(tmp_path / "f.jsonl", NORWAY, NORWAY | {"subject": "Oslo"} | change)
    with pytest.raises(UserError) as caught:
        read_edits(path)
    assert str(caught.value).startswith(f"{path}:2: {fault}")
    kept = read_edits(path, on_error="skip")
    assert [edit.fact.subject for edit in kept.edits] == ["Norway"]
    assert kept.notes[0].startswith(f"1 bad rows are left out; the first: {path}:2: ")


def test_half_a_character_in_a_probe_is_a_bad_row(tmp_path: Path) -> None:
    probe = {"kind": "locality", "prompt": "a", "answers": ["\ud83d"]}
    path = save(tmp_path / "f.jsonl", NORWAY | {"locality": [probe]})
    with pytest.raises(UserError, match=r"1: 'locality' .*half of a character"):
        read_edits(path)


def test_two_edits_with_one_id_are_refused(tmp_path: Path) -> None:
    path = save(
        tmp_path / "f.jsonl",
        NORWAY | {"fact_id": "a"},
        NORWAY | {"fact_id": "a", "subject": "Sweden"},
    )
    with pytest.raises(UserError, match=r"f\.jsonl:2: has the fact_id 'a' of .*f\.jsonl:1"):
        read_edits(path)


def test_an_edit_that_is_there_twice_has_both_tests(tmp_path: Path) -> None:
    """Another prompt of the same edit is another wording of it."""
    (edit,) = read_edits(save(tmp_path / "f.jsonl", NORWAY, EDIT, NORWAY)).edits
    assert edit.prompt == "The capital of Norway is"
    assert edit.paraphrases == ("What is the capital of Norway?", "Norway's capital city is")
    assert len(edit.locality) == len(edit.portability) == 1


def test_a_misspelt_key_is_a_note_and_a_problem(tmp_path: Path) -> None:
    """An audit ran to its end without the original answer, and said nothing."""
    row = {k: v for k, v in EDIT.items() if k != "original_answer"} | {
        "orignal_answer": "Oslo",
        "locality": [{"kind": "near", "prompt": "Who wrote Faust?", "answer": ["Goethe"]}],
        "my_own_column": 1,
    }
    path = save(tmp_path / "f.jsonl", row)
    said = " | ".join(read_edits(path).notes)
    assert "f.jsonl:1: 'orignal_answer' is not read; did you mean 'original_answer'?" in said
    assert "'locality': the key 'answer' of a probe is not read" in said
    assert "my_own_column" not in said
    problems = " | ".join(map(str, check_facts(path)))
    assert "'orignal_answer' is not read" in problems and "the key 'answer'" in problems


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_misspelt_column_of_a_table_is_a_note(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"f.{suffix}"
    row = {"subject": "Norway", "edit_fact": "Bergen is its capital.", "edited_answer": "Bergen"}
    row |= {"orignal_answer": "Oslo", "mine": "1"}
    table = f"{','.join(row)}\n{','.join(row.values())}\n"
    path.write_text(table if suffix == "csv" else json.dumps([row]))
    said = " | ".join(read_edits(path).notes)
    assert f"f.{suffix}: the column 'orignal_answer' is not read" in said
    assert "did you mean 'original_answer'?" in said and "mine" not in said


def test_rows_of_one_edit_join_the_aliases_of_both_answers() -> None:
    """In whatever order: MQuAKE has an original answer's aliases in some of an edit's rows only."""
    fact = Fact(fact_id="1", subject="Norway", edit_fact="The capital of Norway is Bergen.")
    with_old = Edit(fact=msgspec.structs.replace(fact, aliases=("Christiania",)))
    with_new = Edit(fact=fact, edited_aliases=("Bjørgvin",))
    for one, other in ((with_old, with_new), (with_new, with_old)):
        joined = one.joined(other)
        assert joined.fact.aliases == ("Christiania",)
        assert joined.edited_aliases == ("Bjørgvin",)


@pytest.mark.parametrize("text", ["", "\n\n", "[]"])
def test_a_file_without_edits_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "f.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"f\.json: is empty"):
        read_edits(path, "json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: no such edits file"):
        read_edits(tmp_path / "none.jsonl")


def test_a_table_has_texts_and_lists_of_an_edit(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(
        "subject,edit_fact,edited_answer,cloze,paraphrases\n"
        "Norway,Bergen is its capital.,Bergen,The capital of Norway is,a?;b?\n"
    )
    (edit,) = read_edits(path, columns={"prompt": "cloze"}).edits
    assert edit.prompt == "The capital of Norway is"
    assert edit.paraphrases == ("a?", "b?")


def test_a_mapped_column_is_no_prompt_as_well(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("subject,edit_fact,prompt\nNorway,Bergen is its capital.,Which is it?\n")
    (edit,) = read_edits(path, columns={"question": "prompt"}).edits
    assert edit.fact.question == "Which is it?"
    assert edit.prompt == "Which is it?"  # made from the question
    path.write_text("subject,edit_fact,prompt\nNorway,Its capital is Bergen.,Bergen\n")
    (edit,) = read_edits(path, columns={"edited_answer": "prompt"}).edits
    assert edit.prompt == "Its capital is"


def test_notes_count_what_a_reader_should_know(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([EASYEDIT_UNCHANGED, EASYEDIT_APPLIED]))
    unknown, unchanged = read_edits(path).notes
    assert unknown.startswith("1 of 2 edits have no original answer")
    assert unchanged.startswith("1 of 2 rows have pre equal to post")


def test_edits_without_a_new_answer_are_listed(tmp_path: Path) -> None:
    path = save(tmp_path / "f.jsonl", NORWAY, {"subject": "A", "edit_fact": "A is B."})
    edits = read_edits(path).edits
    assert check_edits(edits) == (f"{path}:2: 'A' has no edited_answer",)
    assert check_edits(edits[:1]) == ()


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_file_without_any_new_answer_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"f.{suffix}"
    rows = {"json": [KNOWEDIT_BIO], "jsonl": {"subject": "A", "edit_fact": "A is B."}}
    path.write_text(json.dumps(rows[suffix]))
    with pytest.raises(UserError) as caught:
        check_edits(read_edits(path).edits)
    message = str(caught.value)
    assert message.startswith(f"{path}: none of its 1 edits has an edited_answer")
    assert "give each fact an edited_answer" in message
    assert len(message.splitlines()) == 1


PUBLISHED = [COUNTERFACT, ZSRE, MQUAKE, RIPPLE, KNOWEDIT_CF, EASYEDIT_UNCHANGED, EASYEDIT_APPLIED]


@pytest.mark.parametrize("row", [EDIT, *PUBLISHED])
def test_written_edits_are_read_back_equal(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "in.json"
    path.write_text(json.dumps([row]))
    edits = read_edits(path).edits
    assert write_edits(tmp_path / "out.jsonl", edits) == len(edits)
    assert without_place(read_edits(tmp_path / "out.jsonl").edits) == without_place(edits)
    assert read_facts(tmp_path / "out.jsonl") == [edit.fact for edit in edits]


def test_a_fact_gets_no_keys_that_follow_from_it(tmp_path: Path) -> None:
    edits = read_edits(save(tmp_path / "in.jsonl", NORWAY)).edits
    write_edits(tmp_path / "out.jsonl", edits)
    assert set(json.loads((tmp_path / "out.jsonl").read_text())) == set(Fact.__struct_fields__)


def test_data_convert_keeps_the_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "results.json"
    broken = EASYEDIT_APPLIED["requested_rewrite"] | {"portability": 3, "subject": "Sorlands"}
    rows = [EASYEDIT_UNCHANGED, EASYEDIT_APPLIED, {"requested_rewrite": broken}]
    source.write_text(json.dumps(rows))
    out = tmp_path / "edits.jsonl"
    assert main(["data", "convert", f"in={source}", f"out={out}"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"wrote 3 facts to {out}; skipped 0 rows\n"
    assert f"{source}: row 3: field 'portability'" in printed.err
    assert without_place(read_edits(out).edits) == without_place(read_edits(source).edits)
