"""What the words of a sweep mean."""

from __future__ import annotations

import pytest

from contraflow.errors import UserError
from contraflow.sweep.space import Choices, Interval, grid_size, read_values


def test_lists_keep_their_words_and_intervals_their_scale():
    assert read_values("k", "0, 0.10,x") == Choices(("0", "0.10", "x"))
    assert read_values("k", "-2..3.5") == Interval(-2.0, 3.5)
    assert read_values("k", "1e-4..1e-3:log") == Interval(1e-4, 1e-3, log=True)


@pytest.mark.parametrize(
    "text", ["", "1,,2", "1,1", "3..1", "0..1:log", "1..2:lin", "a..b", "1..2..3"]
)
def test_what_is_no_set_of_values_is_told_with_its_key(text: str):
    with pytest.raises(UserError, match=r"vary\.optimizer\.lr="):
        read_values("optimizer.lr", text)


def test_a_grid_is_counted_only_where_everything_is_listed():
    assert grid_size({"a": Choices(("1", "2")), "b": Choices(("x", "y", "z"))}) == 6
    assert grid_size({"a": Choices(("1", "2")), "b": Interval(0, 1)}) is None
