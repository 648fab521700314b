"""Published formats of data sets, each converted to facts as a person would do it by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.formats import Skipped, convert, format_of
from support.dataset_rows import (
    COUNTERFACT,
    KNOWEDIT_BIO,
    KNOWEDIT_CF,
    KNOWEDIT_ZSRE,
    MQUAKE,
    RIPPLE,
    SHAPES,
    ZSRE,
    ZSRE_LINE,
    save_rows,
)


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
    [fact] = convert(save_rows(tmp_path / "zsre_mend_eval.json", ZSRE))
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
    [fact] = convert(save_rows(tmp_path / "counterfact.json", COUNTERFACT))
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
        save_rows(tmp_path / "m.json", MQUAKE | extra, MQUAKE | {"case_id": 2}), skipped=skipped
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
    [fact] = convert(save_rows(tmp_path / "popular.json", RIPPLE | {"edit": edit | {key: before}}))
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
    [fact] = convert(save_rows(tmp_path / "recent.json", row))
    assert (fact.subject, fact.edited_answer, fact.original_answer) == (subject, answer, "")


def test_knowedit_with_prompts_questions_and_passages(tmp_path: Path) -> None:
    opened, asked = convert(save_rows(tmp_path / "test_cf.json", KNOWEDIT_CF, KNOWEDIT_ZSRE))
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
    [passage] = convert(save_rows(tmp_path / "wikibio.json", KNOWEDIT_BIO))
    assert (passage.subject, passage.edit_fact) == ("mira lund", "She wrote about lakes.")


def test_news_of_knowedit_has_no_original_answer(tmp_path: Path) -> None:
    row = {key: value for key, value in KNOWEDIT_CF.items() if key != "ground_truth"}
    [fact] = convert(save_rows(tmp_path / "recent_test.json", row))
    assert (fact.original_answer, fact.original_fact) == ("", "")


@pytest.mark.parametrize("name", SHAPES)
def test_formats_are_recognized_by_the_first_row(tmp_path: Path, name: str) -> None:
    assert format_of(save_rows(tmp_path / "file.json", SHAPES[name])) == name
    lines = tmp_path / "file.jsonl"
    lines.write_text("\n" + json.dumps(SHAPES[name]) + "\n")
    assert format_of(lines) == name
    assert len(list(convert(lines))) == len(list(convert(tmp_path / "file.json")))


def test_a_mapping_or_our_own_keys_mean_a_table(tmp_path: Path) -> None:
    path = save_rows(tmp_path / "own.json", {"about": "A", "claim": "A is B.", "edit": {}})
    [fact] = convert(path, columns={"subject": "about", "edit_fact": "claim"})
    assert (fact.subject, fact.edit_fact) == ("A", "A is B.")
    assert (
        format_of(
            save_rows(tmp_path / "facts.json", {"subject": "A", "edit_fact": "B", "edit": {}})
        )
        == "json"
    )
    with pytest.raises(
        UserError, match=r"own2\.json: the fields of its first row \(about\) match no format"
    ):
        format_of(save_rows(tmp_path / "own2.json", {"about": "A"}))
