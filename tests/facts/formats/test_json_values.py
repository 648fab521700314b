"""JSON as tools write it: long integers, NaN, lone surrogates, and rows that are damaged."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contraflow.errors import UserError
from contraflow.facts.formats import Skipped, _json_array, convert
from contraflow.facts.json_values import NaN, decode_json

_EDIT = (
    '{"subject": "A0", "prompt": "A0 is in", "target_new": "Peru", "ground_truth": "Chile", '
    '"case_id": 7}'
)
_ROW = '{"subject": "A0", "edit_fact": "A0 is in Peru.", "mine": 7}'
PUBLISHED = [_EDIT.replace("A0", f"A{n}") for n in range(3)]
TABLE = [_ROW.replace("A0", f"A{n}") for n in range(3)]
LONG = 12345678901234567890


def save(tmp_path: Path, rows: list[str], suffix: str) -> Path:
    path = tmp_path / f"f.{suffix}"
    text = "[" + ",\n".join(rows) + "]" if suffix == "json" else "\n".join(rows)
    path.write_text(text, encoding="utf-8")
    return path


def converted(path: Path, *ignore: str) -> tuple[list[str], list[str]]:
    """Return the subjects of the facts, and the messages of the skipped rows."""
    skipped = Skipped()
    facts = list(convert(path, on_error="skip", skipped=skipped, ignore=ignore))
    return [fact.subject for fact in facts], skipped.messages


def test_long_integers_and_constants_are_decoded() -> None:
    row = decode_json(
        b'{"a": -12345678901234567890, "b": NaN, "c": [-Infinity, 10000000000000000000000]}'
    )
    assert row["a"] == -LONG
    assert type(row["b"]) is NaN
    assert math.isnan(row["b"])
    assert row["c"] == [-math.inf, 10**22]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize("rows", [PUBLISHED, TABLE])
@pytest.mark.parametrize("value", [str(LONG), "NaN", "-Infinity", '"\\ud83d"'])
def test_an_unread_field_stops_nothing(
    tmp_path: Path, rows: list[str], suffix: str, value: str
) -> None:
    path = save(tmp_path, [rows[0], rows[1].replace("7", value), rows[2]], suffix)
    assert converted(path) == (["A0", "A1", "A2"], [])


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize(("value", "said"), [("NaN", "NaN"), ("-Infinity", "Infinity")])
def test_a_constant_in_a_read_field_is_one_bad_row(
    tmp_path: Path, suffix: str, value: str, said: str
) -> None:
    path = save(tmp_path, [PUBLISHED[0], PUBLISHED[1].replace('"Peru"', value)], suffix)
    subjects, [message] = converted(path)
    assert subjects == ["A0"]
    assert f"row 2: is no row of KnowEdit as published: Expected `str`, got `{said}`" in message
    path = save(tmp_path, [TABLE[0], TABLE[1].replace('"A1"', value)], suffix)
    subjects, [message] = converted(path)
    assert subjects == ["A0"]
    assert f"'subject' must be a string, got {said}" in message


def test_an_ignored_field_may_hold_anything(tmp_path: Path) -> None:
    row = PUBLISHED[1].replace("}", ', "mine": [NaN, 1e999, "\\udc00"]}')
    path = save(tmp_path, [PUBLISHED[0], row], "json")
    assert converted(path)[0] == ["A0"]
    assert converted(path, "mine") == (["A0", "A1"], [])


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize(("rows", "old"), [(PUBLISHED, "Peru"), (TABLE, "Peru"), (TABLE, "A1")])
def test_a_lone_surrogate_is_refused_by_row(
    tmp_path: Path, rows: list[str], old: str, suffix: str
) -> None:
    path = save(tmp_path, [rows[0], rows[1].replace(old, "x \\ud83d"), rows[2]], suffix)
    subjects, [message] = converted(path)
    assert subjects == ["A0", "A2"]
    place = f"{path}:2: " if rows is TABLE and suffix == "jsonl" else f"{path}: row 2: "
    assert message.startswith(place)
    assert "half of a character (\\ud83d, a lone surrogate)" in message
    assert message.encode()


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_lone_surrogate_in_a_field_name_is_printable(tmp_path: Path, suffix: str) -> None:
    row = PUBLISHED[1].replace("case_id", "mine \\ud83d")
    subjects, [message] = converted(save(tmp_path, [PUBLISHED[0], row], suffix))
    assert subjects == ["A0"]
    assert "has a field whose name has half of a character: 'mine \\ud83d'" in message
    assert message.encode()
    path = save(tmp_path, ['{"Subj\\ud83d": "A"}'], "json")
    with pytest.raises(
        UserError, match=r"the fields of its first row \(Subj\\ud83d\) match"
    ) as caught:
        converted(path)
    assert str(caught.value).encode()


def test_a_surrogate_pair_is_one_character(tmp_path: Path) -> None:
    path = save(tmp_path, [TABLE[0].replace('"A0"', '"\\ud83d\\ude00"')], "json")
    assert converted(path)[0] == ["\U0001f600"]


def test_a_damaged_row_of_an_array_is_one_bad_row(tmp_path: Path) -> None:
    damaged = ['{"subject": "A1"', '{"subject" "A1"}', "{01}", ""]
    for text in damaged[1:]:
        path = save(tmp_path, [text, PUBLISHED[0], text, PUBLISHED[2]], "json")
        subjects, messages = converted(path)
        assert subjects == ["A0", "A2"], text
        assert [message.split(": ")[1] for message in messages] == ["row 1", "row 3"]
    path = save(tmp_path, [PUBLISHED[0], damaged[0]], "json")
    with pytest.raises(UserError, match=r"row 2: is not valid JSON .*cut or damaged, fetch it"):
        converted(path)


def values(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
    inner = st.recursive(
        leaves,
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    )
    return st.lists(inner, max_size=4)


@given(
    values(st.none() | st.integers() | st.text('ab"\\[]{},\n\u00e9') | st.floats(allow_nan=False)),
    st.sampled_from([1, 2, 7, 1 << 14]),
    st.sampled_from([None, 1]),
)
def test_an_array_is_split_into_its_items(
    items: list[object], buffer_bytes: int, indent: int | None
) -> None:
    file = io.BytesIO(json.dumps(items, indent=indent).encode())
    whole_buffer = _json_array.BUFFER_BYTES
    _json_array.BUFFER_BYTES = buffer_bytes
    try:
        found = [decode_json(content) for content in _json_array.array_items(file)]
    finally:
        _json_array.BUFFER_BYTES = whole_buffer
    assert found == items
