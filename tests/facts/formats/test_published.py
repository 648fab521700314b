"""Published formats of data sets, each converted to facts as a person would do it by hand."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.formats import Skipped, convert, format_of, rows_about
from support.dataset_rows import (
    COUNTERFACT,
    KNOWEDIT_BIO,
    KNOWEDIT_CF,
    KNOWEDIT_ZSRE,
    MQUAKE,
    RIPPLE,
    ZSRE,
    ZSRE_LINE,
)

SHAPES = {
    "zsre": ZSRE,
    "counterfact": COUNTERFACT,
    "mquake": MQUAKE,
    "rippleedits": RIPPLE,
    "knowedit": KNOWEDIT_CF,
}


def save(path: Path, *rows: object) -> Path:
    path.write_text(json.dumps(list(rows), indent=1), encoding="utf-8")
    return path


def stated(fact: Fact) -> tuple[str, ...]:
    names = (
        "subject",
        "relation",
        "original_answer",
        "edited_answer",
        "original_fact",
        "edit_fact",
        "question",
    )
    return (*(getattr(fact, name) for name in names), *fact.aliases)


def test_zsre_json_of_mend_and_rome(tmp_path: Path) -> None:
    [fact] = convert(save(tmp_path / "zsre_mend_eval.json", ZSRE))
    assert stated(fact) == (
        "Mira Lund",
        "",
        "Uppsala University",
        "Aarhus University",
        "Mira Lund attended Uppsala University.",
        "Mira Lund attended Aarhus University.",
        "What university did Mira Lund attend?",
        "University of Uppsala",
    )


def test_zsre_json_lines_of_mend(tmp_path: Path) -> None:
    path = tmp_path / "structured_zeroshot.jsonl"
    path.write_text(
        json.dumps(ZSRE_LINE) + "\n" + json.dumps(ZSRE_LINE | {"input": "Which is it?"}) + "\n"
    )
    skipped = Skipped()
    [fact] = convert(path, on_error="skip", skipped=skipped)
    assert stated(fact) == (
        "Kalby",
        "",
        "Ran",
        "Ode",
        "Kalby lies on Ran.",
        "Kalby lies on Ode.",
        "Which river does Kalby lie on?",
        "River Ran",
    )
    assert (
        "row 2: field 'output.provenance.title (named in the question)' is empty"
        in skipped.messages[0]
    )


def test_counterfact(tmp_path: Path) -> None:
    [fact] = convert(save(tmp_path / "counterfact.json", COUNTERFACT))
    assert stated(fact) == (
        "Odile Marchand",
        "P103",
        "French",
        "Danish",
        "Odile Marchand speaks French.",
        "Odile Marchand speaks Danish.",
        "",
    )


@pytest.mark.parametrize("extra", [{}, {"answer_extended": ["Norvik", "Oslo"]}], ids=["CF", "T"])
def test_mquake_gives_each_edit_of_a_chain_once(tmp_path: Path, extra: dict[str, Any]) -> None:
    skipped = Skipped()
    capital, founder = convert(
        save(tmp_path / "m.json", MQUAKE | extra, MQUAKE | {"case_id": 2}), skipped=skipped
    )
    assert stated(capital) == (
        "Sorland",
        "P36",
        "Norvik",
        "Bergum",
        "The capital of Sorland is Norvik.",
        "The capital of Sorland is Bergum.",
        "What is the capital of Sorland?",
    )
    assert stated(founder)[4:] == (
        "Rotor Works was founded by Al Kent.",
        "Rotor Works was founded by Jo Hart.",
        "Who founded Rotor Works?",
        "Albert Kent",
    )
    assert (skipped.count, skipped.repeated) == (0, 2)


@pytest.mark.parametrize("key", ["original_fact", "previous_fact"])
def test_rippleedits_takes_subject_and_answers_from_sentences(tmp_path: Path, key: str) -> None:
    """ "Of Mists" contains "of", and both answers begin with "Ann ".

    The published data and the published code use different keys for the old fact.
    """
    edit = dict(RIPPLE["edit"])
    before = edit.pop("original_fact")
    [fact] = convert(save(tmp_path / "popular.json", RIPPLE | {"edit": edit | {key: before}}))
    assert stated(fact) == (
        "Of Mists",
        "author",
        "Ann Rowe",
        "Ann Reed",
        "The name of the author of Of Mists is Ann Rowe.",
        "The name of the author of Of Mists is Ann Reed.",
        "",
        "A. Rowe",
        "Ann B. Rowe",
    )


@pytest.mark.parametrize(
    ("relation", "prompt", "subject", "answer"),
    [
        (
            "COUNTRY",
            "The name of the country which Kalby is associated with is Sorland.",
            "Kalby",
            "Sorland",
        ),
        (
            "POSITION_HELD",
            "The name of the position held by Al Kent is mayor of Is.",
            "Al Kent",
            "mayor of Is",
        ),
        ("PLACE_OF_BIRTH", "The place of birth of Al of Kent is Rome.", "Al of Kent", "Rome"),
        ("SIBLING", "The names of the siblings of Al are Bo.", "Al", "Bo"),
        ("NATIVE_LANGUAGE", "The mother tongue of Al is Danish.", "Al", "Danish"),
        ("CURRENCY", "The name of the currency in Sorland is crown.", "Sorland", "crown"),
        ("FOLLOWS", "Snow follows Rain.", "Snow", "Rain"),
        ("FOLLOWED_BY", "Rain is followed by Snow.", "Rain", "Snow"),
    ],
)
def test_rippleedits_phrases(
    tmp_path: Path, relation: str, prompt: str, subject: str, answer: str
) -> None:
    """Recent edits have no previous fact, so the sentence is the only source."""
    row = RIPPLE | {"example_type": "recent", "edit": {"prompt": prompt, "relation": relation}}
    [fact] = convert(save(tmp_path / "recent.json", row))
    assert (fact.subject, fact.edited_answer, fact.original_answer) == (subject, answer, "")


def test_knowedit_with_prompts_questions_and_passages(tmp_path: Path) -> None:
    opened, asked = convert(save(tmp_path / "test_cf.json", KNOWEDIT_CF, KNOWEDIT_ZSRE))
    assert stated(opened)[2:] == (
        "Norland",
        "Sorland",
        "The name of the country which Kalby is associated with is Norland.",
        "The name of the country which Kalby is associated with is Sorland.",
        "",
    )
    assert stated(asked)[2:] == (
        "Uppsala",
        "Aarhus",
        "Mira Lund was born in Uppsala.",
        "Mira Lund was born in Aarhus.",
        "Where was Mira Lund born?",
        "Upsala",
    )
    [passage] = convert(save(tmp_path / "wikibio.json", KNOWEDIT_BIO))
    assert (passage.subject, passage.edit_fact) == ("mira lund", "She wrote about lakes.")


def test_news_of_knowedit_has_no_original_answer(tmp_path: Path) -> None:
    row = {key: value for key, value in KNOWEDIT_CF.items() if key != "ground_truth"}
    [fact] = convert(save(tmp_path / "recent_test.json", row))
    assert (fact.original_answer, fact.original_fact) == ("", "")


@pytest.mark.parametrize("name", SHAPES)
def test_formats_are_recognized_by_the_first_row(tmp_path: Path, name: str) -> None:
    assert format_of(save(tmp_path / "file.json", SHAPES[name])) == name
    lines = tmp_path / "file.jsonl"
    lines.write_text("\n" + json.dumps(SHAPES[name]) + "\n")
    assert format_of(lines) == name
    assert len(list(convert(lines))) == len(list(convert(tmp_path / "file.json")))


def test_a_mapping_or_our_own_keys_mean_a_table(tmp_path: Path) -> None:
    path = save(tmp_path / "own.json", {"about": "A", "claim": "A is B.", "edit": {}})
    [fact] = convert(path, columns={"subject": "about", "edit_fact": "claim"})
    assert (fact.subject, fact.edit_fact) == ("A", "A is B.")
    assert (
        format_of(save(tmp_path / "facts.json", {"subject": "A", "edit_fact": "B", "edit": {}}))
        == "json"
    )
    with pytest.raises(
        UserError, match=r"own2\.json: the fields of its first row \(about\) match no format"
    ):
        format_of(save(tmp_path / "own2.json", {"about": "A"}))


def without(row: dict[str, Any], *path: str) -> dict[str, Any]:
    row = copy.deepcopy(row)
    at: Any = row
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return row


def changed(row: dict[str, Any], value: object, *path: str) -> dict[str, Any]:
    row = copy.deepcopy(row)
    at: Any = row
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return row


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("zsre", lambda row: without(row, "answers"), "missing required field `answers`"),
        ("zsre", lambda row: row | {"alternative": "x"}, "unknown field `alternative`"),
        ("zsre", lambda row: row | {"alt": ""}, "field 'alt' is empty"),
        ("zsre", lambda row: row | {"answers": []}, "field 'answers' is empty"),
        (
            "counterfact",
            lambda row: without(row, "requested_rewrite", "target_true", "str"),
            "missing required field `str` - at `$.requested_rewrite.target_true`",
        ),
        (
            "counterfact",
            lambda row: changed(row, 5, "requested_rewrite", "prompt"),
            "Expected `str`, got `int` - at `$.requested_rewrite.prompt`",
        ),
        (
            "mquake",
            lambda row: row | {"single_hops": [{"question": "q", "answer": "a", "hint": "h"}]},
            "unknown field `hint` - at `$.single_hops[0]`",
        ),
        (
            "rippleedits",
            lambda row: changed(row, "So it is!", "edit", "prompt"),
            "do not begin alike",
        ),
        (
            "rippleedits",
            lambda row: changed(row, "MOOD", "edit", "relation"),
            "phrased in a new way for relation",
        ),
        ("rippleedits", lambda row: row | {"Aliasing": []}, "unknown field `Aliasing`"),
        (
            "knowedit",
            lambda row: row | {"target_new": ["x"]},
            "Expected `str`, got `array` - at `$.target_new`",
        ),
        ("knowedit", lambda row: row | {"ground_truth": 3}, "at `$.ground_truth`"),
    ],
)
def test_changed_rows_are_named_by_file_row_and_field(
    tmp_path: Path, name: str, change: Callable[[dict[str, Any]], dict[str, Any]], fault: str
) -> None:
    good = SHAPES[name]
    path = save(tmp_path / "file.json", good, change(good))
    with pytest.raises(UserError) as caught:
        list(convert(path, name))
    assert f"{path}: row 2: " in str(caught.value)
    assert fault in str(caught.value)
    skipped = Skipped()
    kept = list(convert(path, name, on_error="skip", skipped=skipped))
    assert kept == list(convert(save(tmp_path / "good.json", good), name))
    assert skipped.count == 1


def test_an_unknown_field_may_be_ignored_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "file.json", ZSRE | {"split": "eval"})
    with pytest.raises(
        UserError, match=r"unknown field `split`; leave a field unread with ignore=FIELD"
    ):
        list(convert(path))
    assert len(list(convert(path, ignore=["split"]))) == 1


def test_published_shapes_take_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"columns\.subject: CounterFact has fields of its own"):
        convert(save(tmp_path / "f.json", COUNTERFACT), "counterfact", columns={"subject": "x"})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "f.json: is empty"),
        (b"[]", "f.json: is empty"),
        (b"[1]", "f.json: row 1: is not a JSON object"),
        (b'[{"src": "a"', "f.json: row 1: is not valid JSON"),
        (b'[{"src": "\xff\xfe"}]', "f.json: row 1: is not UTF-8 text"),
        (b"src,alt", "f.json: row 1: is not valid JSON"),
    ],
)
def test_broken_json_is_reported_with_its_row(tmp_path: Path, text: bytes, fault: str) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(text)
    with pytest.raises(UserError) as caught:
        list(convert(path, "zsre"))
    assert fault in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        list(convert(tmp_path / "none.json", "mquake"))


def write_many(path: Path, rows: int) -> None:
    """Write MQuAKE rows on one line, each with two edits of its own."""
    text = json.dumps(MQUAKE)
    with path.open("w") as file:
        file.write("[")
        for number in range(rows):
            file.write(
                ("," if number else "")
                + text.replace("Sorland", f"S{number}").replace("Rotor", f"R{number}")
            )
        file.write("]")


def peak_of(path: Path) -> tuple[int, int]:
    tracemalloc.start()
    try:
        count = sum(1 for _ in convert(path))
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_is_never_whole_in_memory(tmp_path: Path) -> None:
    """Ten times the rows take no more memory: 0.2 MB and 1.9 MB of JSON; the limit is 1 MB."""
    write_many(tmp_path / "small.json", 200)
    write_many(tmp_path / "large.json", 2_000)
    count, small = peak_of(tmp_path / "small.json")
    assert count == 400
    assert (tmp_path / "large.json").stat().st_size > 1_500_000
    count, large = peak_of(tmp_path / "large.json")
    assert count == 4_000
    assert large < 1_000_000
    assert large < 1.5 * small + 100_000


def test_the_bar_knows_about_how_many_rows_there_are(tmp_path: Path) -> None:
    write_many(tmp_path / "large.json", 5_000)
    assert rows_about(tmp_path / "large.json") == pytest.approx(5_000, rel=0.05)


def converted_apart(path: Path) -> int:
    """Return the peak memory in bytes of a process that converts the file as a user would."""
    code = (
        "import resource, sys; from contraflow.cli import main; assert main(sys.argv[1:]) == 0; "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    words = ["data", "convert", f"in={path}", f"out={path.with_suffix('.facts')}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_the_memory_of_a_hundred(tmp_path: Path) -> None:
    """200,000 facts from 140 MB of JSON on one line, repeats included, take 20 MB more at most."""
    write_many(tmp_path / "few.json", 100)
    write_many(tmp_path / "many.json", 100_000)
    few, many = (converted_apart(tmp_path / name) for name in ("few.json", "many.json"))
    assert sum(1 for _ in (tmp_path / "many.facts").open("rb")) == 200_000
    assert many - few < 20e6
