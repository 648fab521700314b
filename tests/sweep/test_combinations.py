"""Which combinations of a sweep's values are checked before it starts, and what they must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from contraflow.cli.commands import sweep
from contraflow.settings import Config
from contraflow.sweep import study
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
        (
            ("trainer.n_steps=3", "vary.trainer.n_steps=1,2"),
            ("trainer.n_steps=3 and vary.trainer.n_steps=1,2: is fixed and varied; keep one",),
        ),
        (
            ("vary.seed=1,2", "vary.optimizer.lr=1e-4..1e-3"),
            ("vary.optimizer.lr=1e-4..1e-3: an interval has no end", "trials=N"),
        ),
        (("vary.model.device=cpu,cuda:77",), ("model.device=cuda:77",)),
    ],
)
def test_combinations_that_cannot_run_are_refused_before_the_first_one_does(
    contraflow: Call, tmp_path: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    assert_one_error(contraflow("sweep", "study=s", *words), *parts)
    assert not (tmp_path / "sweeps").exists()


def test_a_file_that_no_run_can_train_on_is_refused_before_the_first_trial(
    contraflow: Call, tmp_path: Path
) -> None:
    """Each trial of such a sweep failed by itself, and the sweep ended with 0."""
    facts = tmp_path / "one.jsonl"
    facts.write_text('{"subject": "Oslo", "edit_fact": "Oslo is in Chile."}\n')
    result = contraflow("sweep", "study=s", f"data.facts={facts}", "vary.seed=1,2")
    assert_one_error(result, f"data.facts={facts}", "no validation facts")
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize("states", [("COMPLETE", "FAIL"), ("FAIL", "FAIL"), ("COMPLETE",)])
def test_runs_without_a_result_are_named_and_make_the_exit_code_1(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch, states: tuple[str, ...]
) -> None:
    trials = [
        create_trial(
            state=TrialState[state],
            value=0.5 if state == "COMPLETE" else None,
            user_attrs={"settings": {"seed": str(i)}, "run": f"run{i}"},
        )
        for i, state in enumerate(states)
    ]

    def run_sweep(asked: study.Sweep, *_: object) -> list[FrozenTrial]:
        asked.folder.mkdir(parents=True)
        return trials

    monkeypatch.setattr(study, "run_sweep", run_sweep)
    result = contraflow("sweep", "study=s", "vary.seed=1,2")
    failed = [f"run{i}.log" for i, state in enumerate(states) if state == "FAIL"]
    assert result.code == bool(failed)
    assert all(name in result.err for name in failed)
    assert ("without a result" in result.err) == bool(failed)


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
