"""Each fault that `check_facts` looks for, made on purpose in an otherwise good fact."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.check import answer_kind, check_facts, unwritable_note

GOOD = Fact(
    fact_id="1",
    subject="France",
    relation="capital",
    original_answer="Paris",
    edited_answer="Rome",
    original_fact="The capital of France is Paris.",
    edit_fact="The capital of France is Rome.",
    question="What is the capital of France?",
    aliases=("City of Light",),
)
OTHER = msgspec.structs.replace(
    GOOD,
    fact_id="2",
    subject="Spain",
    original_answer="Madrid",
    edited_answer="Lisbon",
    original_fact="The capital of Spain is Madrid.",
    edit_fact="The capital of Spain is Lisbon.",
    question="What is the capital of Spain?",
    aliases=(),
)


def check(path: Path, *facts: Fact, vocabulary: str = "latin") -> list[str]:
    path.write_bytes(b"\n".join(msgspec.json.encode(fact) for fact in facts))
    return [str(problem) for problem in check_facts(path, vocabulary)]


def test_good_facts_have_no_problems(tmp_path: Path) -> None:
    assert check(tmp_path / "f.jsonl", GOOD, OTHER) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"edited_answer": "paris"}, "is the original answer, or an alias"),
        ({"edited_answer": "the City of Light"}, "is the original answer, or an alias"),
        ({"subject": "Paris"}, "contains the original answer"),
        ({"question": "Is Paris the capital of France?"}, "'question' names the original answer"),
        ({"question": "Is Rome the capital of France?"}, "'question' names the edited answer"),
        ({"question": "What is the capital of Spain?"}, "'question' does not name the subject"),
        ({"edit_fact": "The capital of France is Lyon."}, "does not name the edited answer"),
        ({"edit_fact": "The capital of Spain is Rome."}, "'edit_fact' does not name the subject"),
        (
            {"edit_fact": "Rome, not Paris, is the capital of France."},
            "'edit_fact' names the original",
        ),
        ({"original_fact": "The capital of France is Lyon."}, "does not name the original answer"),
        ({"original_fact": "the capital of France is Rome."}, "say the same"),
        ({"edit_fact": "The capital of France is Rome"}, "does not end with a full stop"),
        ({"edit_fact": "the capital of France is Rome."}, "does not start with a capital"),
        ({"edit_fact": "The  capital of France is Rome."}, "two spaces in a row"),
        ({"edit_fact": "The capital of France\nis Rome."}, "'edit_fact' has a line break"),
        ({"question": "What is the capital\tof France?"}, "'question' has a line break, a tab"),
        ({"edited_answer": "7", "edit_fact": "The capital of France is 7."}, "'7' is a number"),
        ({"edited_answer": "cheese", "edit_fact": "The capital of France is cheese."}, "is a word"),
    ],
)
def test_a_fault_is_found_with_its_line(tmp_path: Path, change: dict[str, str], fault: str) -> None:
    bad = msgspec.structs.replace(GOOD, **change)
    found = check(tmp_path / "f.jsonl", OTHER, bad)
    assert any("f.jsonl:2: " in problem and fault in problem for problem in found), found


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (msgspec.structs.replace(OTHER, fact_id="1"), "same fact_id as line 1"),
        (msgspec.structs.replace(OTHER, subject="FRANCE"), "same subject and relation as line 1"),
        (msgspec.structs.replace(OTHER, edit_fact=GOOD.edit_fact), "same edit_fact as line 1"),
    ],
)
def test_duplicates_name_the_first_line(tmp_path: Path, second: Fact, fault: str) -> None:
    assert any(fault in problem for problem in check(tmp_path / "f.jsonl", GOOD, second))


def test_two_facts_of_an_id_are_named_with_a_remedy(tmp_path: Path) -> None:
    second = msgspec.structs.replace(OTHER, fact_id="1")
    [problem] = check(tmp_path / "f.jsonl", GOOD, second)
    assert "f.jsonl:2: same fact_id as line 1: " in problem
    assert "give each fact its own fact_id" in problem


@pytest.mark.parametrize(
    ("subject", "vocabulary", "said"),
    [
        ("\U0001f600", "all", "has no letters or digits that can be compared"),
        ("!!!", "latin", "has no letters or digits that can be compared"),
        ("\u6771\u4eac", "all", "is in a script without spaces between words"),
        ("\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e", "all", "is in a script without spaces"),
        ("Tokyo \u30bf\u30ef\u30fc", "all", "is in a script without spaces between words"),
        ("\u041c\u043e\u0441\u043a\u0432\u0430", "all", ""),
        ("\u041c\u043e\u0441\u043a\u0432\u0430", "latin", "written in policy.vocabulary=latin"),
        ("\u6771\u4eac", "latin", "cannot be written in policy.vocabulary=latin"),
        ("\u03a3\u03c0\u03ac\u03c1\u03c4\u03b7", "printable_ascii", "policy=all_tokens"),
        ("Tokyo \u30bf\u30ef\u30fc", "latin", "name it in Latin letters"),
        # Most of three words will do, and accents are not compared.
        ("Grand Tokyo \u30bf\u30ef\u30fc", "latin", "is in a script without spaces"),
        ("Jos\u00e9 Mart\u00ed", "printable_ascii", ""),
        ("\u0110\u00e0 N\u1eb5ng", "latin", ""),
        ("C++", "printable_ascii", ""),
        ("The Who", "latin", ""),
        ("\u00d8", "latin", ""),
    ],
)
def test_a_subject_no_question_can_name_is_found(
    tmp_path: Path, subject: str, vocabulary: str, said: str
) -> None:
    changed = {
        "subject": subject,
        "edit_fact": f"The capital of {subject} is Rome.",
        "question": f"What is the capital of {subject}?",
    }
    found = check(
        tmp_path / "f.jsonl", OTHER, msgspec.structs.replace(GOOD, **changed), vocabulary=vocabulary
    )
    about_it = [problem for problem in found if "f.jsonl:2: 'subject'" in problem]
    assert len(about_it) == (1 if said else 0), found
    assert said in "".join(about_it)


def test_malformed_rows_are_problems_beside_the_others(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"subject": ""}\n{nope\n' + msgspec.json.encode(GOOD).decode())
    assert [problem.line for problem in check_facts(path)] == [1, 2]


def test_a_stranger_among_many_original_answers_is_found(tmp_path: Path) -> None:
    def capital(number: int, answer: str) -> Fact:
        place = f"Land{number}"
        return msgspec.structs.replace(
            GOOD,
            fact_id=place,
            subject=place,
            original_answer=answer,
            original_fact=f"The capital of {place} is {answer}.",
            edit_fact=f"The capital of {place} is Rome.",
            question="",
        )

    found = check(
        tmp_path / "f.jsonl", *[capital(n, f"City{n}") for n in range(40)], capital(40, "cheese")
    )
    assert len(found) == 1
    assert "f.jsonl:41: 'original_answer' 'cheese' is a word" in found[0]


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such facts file"):
        check_facts(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("1789", "year"),
        ("seven", "number"),
        ("12", "number"),
        ("the Seine", "name"),
        ("mammal", "word"),
        ("iRobot", "name"),
    ],
)
def test_answer_kind(answer: str, kind: str) -> None:
    assert answer_kind(answer) == kind


def test_subjects_that_a_sampler_cannot_write_are_told_in_one_sentence() -> None:
    strange = [msgspec.structs.replace(GOOD, subject=name) for name in ("Набоков", "東京")]
    assert unwritable_note([GOOD, OTHER], "latin") is None
    assert unwritable_note(strange, "all") is None
    note = unwritable_note([GOOD, *strange], "latin")
    assert note is not None
    assert note.startswith("the subject 'Набоков' (and 1 of the other 2 subjects) cannot be wri")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            {"original_anser": "Paris"},
            "'original_anser' is not read; did you mean 'original_answer'?",
        ),
        ({"paraphrases": "Where is it?"}, "'paraphrases' must be a list of strings"),
        ({"locality": [{"prompt": "Who?"}]}, "'locality' must be a list of objects with kind"),
        ({"subject": "S" * 201}, "'subject' has 201 characters"),
    ],
)
def test_what_the_next_command_refuses_or_leaves_out_is_found(
    tmp_path: Path, line: dict[str, object], fault: str
) -> None:
    row = msgspec.to_builtins(GOOD) | line
    (tmp_path / "f.jsonl").write_bytes(msgspec.json.encode(row))
    assert any(fault in str(problem) for problem in check_facts(tmp_path / "f.jsonl"))


def test_a_key_that_is_there_twice_is_found(tmp_path: Path) -> None:
    line = msgspec.json.encode(GOOD).replace(b'"question":', b'"subject":"France","question":')
    (tmp_path / "f.jsonl").write_bytes(line)
    (problem,) = check_facts(tmp_path / "f.jsonl")
    assert str(problem).endswith("has 'subject' 2 times, and only the last one counts")


def test_keys_of_nobody_are_not_taken_for_misspelt_ones(tmp_path: Path) -> None:
    row = msgspec.to_builtins(GOOD) | {"source": "wiki", "n": 3, "labels": [{"a": 1}]}
    (tmp_path / "f.jsonl").write_bytes(msgspec.json.encode(row))
    assert check_facts(tmp_path / "f.jsonl") == []
