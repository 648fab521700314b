"""Where a list of override values is split."""

from __future__ import annotations

import pytest

from contraflow.settings.split import split_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", [""]),
        ("a, b,", ["a", "b", ""]),
        ("[q],[q,v]", ["[q]", "[q,v]"]),
        ("{a:1,b:2},c", ["{a:1,b:2}", "c"]),
        ("[[a,b],c],d", ["[[a,b],c]", "d"]),
        ("'a,b',\"c,d\"", ["'a,b'", '"c,d"']),
        ("[a, 'b,]'],c", ["[a, 'b,]']", "c"]),
        ("'it\\'s, so',b", ["'it\\'s, so'", "b"]),
        (r"a\,b,c", [r"a\,b", "c"]),
        ("it's.jsonl,b's.jsonl", ["it's.jsonl", "b's.jsonl"]),
    ],
)
def test_commas_in_brackets_and_quotes_do_not_split(text: str, values: list[str]) -> None:
    assert split_values(text) == values


@pytest.mark.parametrize("text", ["[a,b", "a],b", "[a},b", "'a,b", "(a"])
def test_what_is_not_closed_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"missing at the end|closes no bracket"):
        split_values(text)
