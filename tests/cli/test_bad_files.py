"""A file of facts, of pairs or of a table that cannot be read is named with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.cli import FACTS, Result, assert_one_error

Call = Callable[..., Result]
Write = Callable[[str, Any], Path]

FACT_READERS = [
    ("train", "data.facts={}"),
    ("generate", "run=untrained", "facts={}"),
    ("evaluate", "run=untrained", "facts={}"),
    ("data", "check", "{}"),
    ("data", "filter-known", "facts={}", "out=known.jsonl"),
]


@pytest.mark.parametrize("words", FACT_READERS, ids=lambda words: " ".join(words[:2]))
def test_a_facts_file_that_is_missing_or_empty(
    contraflow: Call, write: Write, words: tuple[str, ...]
) -> None:
    write("empty.jsonl", b"\n \n")
    assert_one_error(
        contraflow(*(w.format("no.jsonl") for w in words)), "no.jsonl: no such facts file"
    )
    assert_one_error(contraflow(*(w.format("empty.jsonl") for w in words)), "empty.jsonl: is empty")


@pytest.mark.parametrize(
    "words", [*FACT_READERS[:3], FACT_READERS[4]], ids=lambda words: " ".join(words[:2])
)
def test_a_table_given_as_facts_is_to_be_converted(
    contraflow: Call, write: Write, words: tuple[str, ...]
) -> None:
    write("own.tsv", b"subject\tedit_fact\nRome\tRome is in France.\n")
    assert_one_error(
        contraflow(*(w.format("own.tsv") for w in words)),
        "own.tsv:1: is a table, ",
        "contraflow data convert in=own.tsv out=own.jsonl",
    )


@pytest.mark.parametrize(
    "words", [*FACT_READERS[:3], FACT_READERS[4]], ids=lambda words: " ".join(words[:2])
)
def test_a_facts_file_with_bad_lines(
    contraflow: Call, write: Write, words: tuple[str, ...]
) -> None:
    good = json.dumps(FACTS[0]).encode()
    write("malformed.jsonl", good + b"\n{nonsense\n")
    write("nameless.jsonl", good + b'\n\n{"edit_fact": "It is so."}\n')
    write("many.jsonl", good + b"\n{nonsense" * 20)
    assert_one_error(
        contraflow(*(w.format("malformed.jsonl") for w in words)), "malformed.jsonl:2: ", "JSON"
    )
    assert_one_error(
        contraflow(*(w.format("nameless.jsonl") for w in words)), "nameless.jsonl:3: 'subject'"
    )
    assert_one_error(
        contraflow(*(w.format("many.jsonl") for w in words)), "many.jsonl:2: ", "19 more"
    )


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty", "premise"]),
        (b'{"premise": "a", "hypothesis": "b"}\nnonsense\n', [":2: ", "JSON"]),
        (b'["a", "b"]\n', [":1: ", "not a JSON object"]),
        (b'\n{"premise": "a"}\n', [":2: 'hypothesis'"]),
        (b'{"premise": "", "hypothesis": "b"}\n', [":1: 'premise'"]),
        (b'{"premise": "a", "hypothesis": 3}\n', [":1: 'hypothesis'"]),
        (
            b'{"premise": "a", "hypothesis": "b", "label": "no"}\n',
            [":1: label 'no'", "contradiction"],
        ),
        (b'{"premise": "a", "hypothesis": "b", "label": 2}\n', [":1: label 2"]),
        (b"\xff\n", [":1: "]),
        (b"\xff\xfe\n", ["is UTF-16; save as UTF-8"]),
    ],
)
def test_a_pairs_file_that_is_not_one(
    contraflow: Call, write: Write, content: bytes, parts: list[str]
) -> None:
    write("pairs.jsonl", content)
    assert_one_error(contraflow("judge", "pairs=pairs.jsonl"), "pairs.jsonl", *parts)


def test_pairs_that_are_not_there(contraflow: Call) -> None:
    assert_one_error(contraflow("judge", "pairs=nope.jsonl"), "nope.jsonl: no such file of pairs")


def test_a_table_that_cannot_be_converted(contraflow: Call, write: Write) -> None:
    convert = ("data", "convert", "out=facts.jsonl")
    write("table.csv", b"subject,claim\nRome,Rome is in France.\n")
    write("table.xyz", b"?")
    write("evil.pkl", b"cos\nsystem\n(S'touch owned'\ntR.")
    assert_one_error(contraflow(*convert, "in=no.csv"), "in=no.csv: no such file")
    assert_one_error(
        contraflow(*convert, "in=table.csv"), "no column 'edit_fact'", "columns.edit_fact=NAME"
    )
    assert_one_error(contraflow(*convert, "in=table.csv", "columns.claim=claim"), "columns.claim")
    assert_one_error(contraflow(*convert, "in=table.xyz"), "format=", "zsre, csv, jsonl")
    assert_one_error(
        contraflow(*convert, "in=table.csv", "format=csvv"), "format=csvv", "did you mean csv?"
    )
    assert_one_error(
        contraflow(*convert, "in=table.csv", "on_error=stop"), "on_error=stop", "raise, skip"
    )
    assert_one_error(contraflow(*convert, "in=evil.pkl"), "evil.pkl")
    assert not Path("owned").exists()
    assert not Path("facts.jsonl").exists()


def test_facts_without_answers_cannot_be_filtered(contraflow: Call, write: Write) -> None:
    write("bare.jsonl", [{"subject": "Rome", "edit_fact": "Rome is in France."}])
    result = contraflow("data", "filter-known", "facts=bare.jsonl", "out=known.jsonl")
    assert_one_error(result, "no fact has an original_answer")


def test_a_folder_in_place_of_a_file_is_named_as_one(contraflow: Call, tmp_path: Path) -> None:
    result = contraflow("data", "convert", f"in={tmp_path}", "out=facts.jsonl")
    assert_one_error(result, f"in={tmp_path}: is a folder; name a file in it")


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "edited=x", "control=y", "edits=edits.jsonl"),
        ("data", "convert", "in=edits.jsonl"),
        ("data", "filter-known", "facts=edits.jsonl"),
        ("export", "in=edits.jsonl", "format=csv"),
        ("evaluate", "run=untrained", "facts=edits.jsonl"),
    ],
    ids=lambda words: words[0],
)
def test_what_is_written_as_a_whole_cannot_go_to_the_standard_output(
    contraflow: Call, write: Write, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """It went to a file with the name `-`."""
    write("edits.jsonl", FACTS)
    result = contraflow(*words, "out=-")
    assert_one_error(result, "out=-: this command does not use the standard streams; name a file")
    assert not (tmp_path / "-").exists()
