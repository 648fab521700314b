"""How the arguments of a sweep are parsed."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from contraflow.errors import UserError
from contraflow.settings import flat
from contraflow.settings.compose import compose_config
from contraflow.sweep.space import Choices, Interval, grid_size, read_values


def test_lists_keep_their_words_and_intervals_their_scale():
    assert read_values("k", "0, 0.10,x") == Choices(("0", "0.10", "x"))
    assert read_values("k", "-2..3.5") == Interval(-2.0, 3.5)
    assert read_values("k", "1e-4..1e-3:log") == Interval(1e-4, 1e-3, log=True)


@pytest.mark.parametrize(
    "text", ["", "1,,2", "1,1", "3..1", "0..1:log", "1..2:lin", "nan..1", "[a,b", "[a],[a]"]
)
def test_a_malformed_set_of_values_is_reported_with_its_key(text: str):
    with pytest.raises(UserError, match=r"vary\.optimizer\.lr="):
        read_values("optimizer.lr", text)


@pytest.mark.parametrize(
    ("key", "text", "composed"),
    [
        ("data.facts", "../a.jsonl,../b.jsonl", ["../a.jsonl", "../b.jsonl"]),
        ("data.facts", "a..b.jsonl", ["a..b.jsonl"]),
        ("data.facts", "'a,b.jsonl',\"1..2\"", ["a,b.jsonl", "1..2"]),
        (
            "model.lora.target_modules",
            "[q_proj],[q_proj,v_proj]",
            [["q_proj"], ["q_proj", "v_proj"]],
        ),
        ("model.lora.target_modules", "null,[c_attn]", [None, ["c_attn"]]),
        ("name", "1.10,1.1,1e3", ["1.10", "1.1", "1e3"]),
    ],
)
def test_paths_lists_and_words_reach_the_run(key: str, text: str, composed: list[object]):
    values = read_values(key, text)
    assert isinstance(values, Choices)
    configs = [asdict(compose_config([f"{key}={value}"])) for value in values.values]
    assert [flat(config)[key] for config in configs] == composed


def test_an_end_that_is_no_number_is_named_by_its_key():
    values = read_values("optimizer.lr", "1..2..3")
    assert values == Choices(("1..2..3",))
    with pytest.raises(UserError, match=r"optimizer\.lr=1\.\.2\.\.3: must be a number"):
        compose_config(["optimizer.lr=1..2..3"])


def test_a_grid_is_counted_only_where_everything_is_listed():
    assert grid_size({"a": Choices(("1", "2")), "b": Choices(("x", "y", "z"))}) == 6
    assert grid_size({"a": Choices(("1", "2")), "b": Interval(0, 1)}) is None
