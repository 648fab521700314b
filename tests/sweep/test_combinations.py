"""Which combinations of a sweep's values are checked before it starts, and what they must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from contraflow.cli.commands import sweep
from contraflow.settings import Config
from contraflow.sweep.space import Choices, Interval, Values, combinations_to_check
from support.cli import Result, assert_one_error

Call = Callable[..., Result]


def test_a_small_space_is_checked_whole_and_an_interval_at_its_bounds() -> None:
    space: dict[str, Values] = {"a": Choices(("x", "y")), "b": Interval(0.001, 2.0, log=True)}
    assert combinations_to_check(space, 4) == [
        {"a": "x", "b": "0.001"},
        {"a": "x", "b": "2.0"},
        {"a": "y", "b": "0.001"},
        {"a": "y", "b": "2.0"},
    ]


def test_of_a_large_space_each_value_and_others_by_chance_are_checked_once() -> None:
    values: Mapping[str, Values] = {
        key: Choices(tuple(map(str, range(n)))) for key, n in (("a", 30), ("b", 7), ("c", 11))
    }
    checked = combinations_to_check(values, 50)
    assert len(checked) == 50 == len({tuple(row.items()) for row in checked})
    for key, n in (("a", 30), ("b", 7), ("c", 11)):
        assert {row[key] for row in checked} == set(map(str, range(n)))
    assert checked == combinations_to_check(values, 50)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            ("vary.objective=vargrad,grpo", "vary.exploration.prior_share=0,0.1"),
            ("prior_share", "of the combination objective=grpo exploration.prior_share=0.1"),
        ),
        (("vary.seed=0,00",), ("seed=0 and seed=00 are one setting",)),
        (("vary.optimizer.lr=1e-3,0.001", "vary.seed=1,2"), ("are one setting",)),
        (
            ("vary.seed=1,2", "vary.trainer.n_steps=5..9", "trials=2"),
            ("vary.trainer.n_steps: takes whole numbers", "vary.trainer.n_steps=5,6"),
        ),
    ],
)
def test_combinations_that_cannot_run_are_refused_before_the_first_one_does(
    contraflow: Call, tmp_path: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    assert_one_error(contraflow("sweep", "study=s", *words), *parts)
    assert not (tmp_path / "sweeps").exists()


def test_a_value_may_need_another_varied_key(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`penalty=huber` needs a bound: alone it would be refused, in this grid it never is alone."""
    checked: list[tuple[str, float | None]] = []

    def check(config: Config) -> None:
        checked.append((config.objective.penalty, config.objective.bound))
        if len(checked) == 2:
            raise KeyboardInterrupt  # before any of them is trained

    monkeypatch.setattr(sweep, "check_training", check)
    words = ("vary.objective.penalty=huber", "vary.objective.bound=1,3")
    assert contraflow("sweep", "study=s", *words).code == 130
    assert checked == [("huber", 1.0), ("huber", 3.0)]
