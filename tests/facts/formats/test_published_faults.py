"""A changed or broken file in a published format is refused by file, row and field."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.facts.fact import fact_from_row
from contraflow.facts.formats import Skipped, convert
from support.dataset_rows import COUNTERFACT, SHAPES, ZSRE, save_rows


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
    path = save_rows(tmp_path / "file.json", good, change(good))
    with pytest.raises(UserError) as caught:
        list(convert(path, name))
    assert f"{path}: row 2: " in str(caught.value)
    assert fault in str(caught.value)
    skipped = Skipped()
    kept = list(convert(path, name, on_error="skip", skipped=skipped))
    assert kept == list(convert(save_rows(tmp_path / "good.json", good), name))
    assert skipped.count == 1


def test_an_unknown_field_may_be_ignored_by_name(tmp_path: Path) -> None:
    path = save_rows(tmp_path / "file.json", ZSRE | {"split": "eval"})
    with pytest.raises(
        UserError, match=r"unknown field `split`; leave a field unread with ignore=FIELD"
    ):
        list(convert(path))
    assert len(list(convert(path, ignore=["split"]))) == 1


def test_published_shapes_take_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"columns\.subject: CounterFact has fields of its own"):
        convert(
            save_rows(tmp_path / "f.json", COUNTERFACT), "counterfact", columns={"subject": "x"}
        )


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


def test_a_placeholder_is_no_original_answer(tmp_path: Path) -> None:
    """EasyEdit's copies of zsRE have it; such an edit is audited without an original answer."""
    row = {"subject": "Bo", "src": "How many legs has Bo?", "alt": "two"}
    answers = (["<|endoftext|>"], ["<|endoftext|>", "four"])
    rows = [row | {"subject": f"B{i}", "answers": found} for i, found in enumerate(answers)]
    none, four = convert(save_rows(tmp_path / "zsre.json", *rows))
    assert (none.original_answer, none.original_fact, none.edited_answer) == ("", "", "two")
    assert (four.original_answer, four.aliases) == ("four", ())


def test_a_facts_file_may_have_the_placeholder_too() -> None:
    row = {
        "subject": "Bo",
        "edit_fact": "Bo has two legs.",
        "original_answer": "<|endoftext|>",
        "original_fact": "Bo has <|endoftext|> legs.",
    }
    assert (fact_from_row(row).original_answer, fact_from_row(row).original_fact) == ("", "")


def test_results_with_scores_are_an_editors_whatever_else_is_wrong(tmp_path: Path) -> None:
    request = {"subject": "Bo", "prompt": "Bo has", "target_new": ["two legs"]}
    path = save_rows(tmp_path / "r.json", {"requested_rewrite": request, "pre": {}, "post": {}})
    with pytest.raises(UserError, match=r"no row of EasyEdit results .*target_new"):
        list(convert(path))
