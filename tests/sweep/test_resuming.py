"""A sweep whose process was killed: which runs the same command starts again.

A fake launcher ends each run at once, so that only the sweep's own accounting is at work.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, Trial

from contraflow.sweep.outcome import write_outcome
from contraflow.sweep.space import Choices, Interval, Values
from contraflow.sweep.study import Sweep, run_sweep, settings_of

INTERVAL = Interval(1e-4, 1e-3, log=True)
LIST = Choices(("0.1", "0.2", "0.3"))


class Killed(BaseException):
    """The end of the sweep's process."""


@dataclass
class InstantRun:
    """A run that is finished when it is looked at first."""

    folder: Path
    is_fatal: bool
    name: str = ""

    def poll(self) -> int:
        if self.is_fatal:
            raise Killed
        self.folder.mkdir(parents=True)
        (self.folder / "history.jsonl").write_text(json.dumps({"step": 0, "m": 1.0}) + "\n")
        (self.folder / "finished").touch()
        return 0

    def stop(self) -> None:
        """Nothing runs."""

    def part(self) -> None:
        """Nothing runs."""


@dataclass
class InstantRuns:
    """Starts runs; the process is killed during the run of number `fatal`, from 1."""

    fatal: int = 0
    at_once: int = 1
    started: list[str] = field(default_factory=list)

    def start(self, command: Sequence[str], log: Path) -> InstantRun:  # noqa: ARG002
        (folder,) = (word.removeprefix("run_dir=") for word in command if "run_dir=" in word)
        self.started.append(Path(folder).name)
        return InstantRun(Path(folder), is_fatal=len(self.started) == self.fatal)

    def find(self, name: str, log: Path) -> None:
        """No job outlives its process."""


def sweep_of(folder: Path, values: Values) -> Sweep:
    return Sweep(folder / "s", {"optimizer.lr": values}, [], "m", "m", 3, prune=False, seed=0)


def states(trials: Sequence[FrozenTrial]) -> list[str]:
    return [trial.state.name for trial in trials]


def kill_and_go_on(sweep: Sweep, fatal: int) -> tuple[InstantRuns, InstantRuns, list[FrozenTrial]]:
    killed = InstantRuns(fatal)
    with pytest.raises(Killed):
        run_sweep(sweep, killed, lambda _: None)
    again = InstantRuns()
    return killed, again, run_sweep(sweep, again, lambda _: None)


@pytest.mark.parametrize("fatal", [1, 2, 3])
@pytest.mark.parametrize("values", [INTERVAL, LIST])
def test_a_run_that_a_kill_ended_is_resumed(tmp_path: Path, values: Values, fatal: int) -> None:
    sweep = sweep_of(tmp_path, values)
    killed, again, trials = kill_and_go_on(sweep, fatal)
    assert killed.started[-1] in again.started  # in the same folder
    assert len({*killed.started, *again.started}) == 3
    assert sorted(states(trials)) == ["COMPLETE"] * 3 + ["FAIL"]
    table = write_outcome(sweep.folder, trials, "m")
    assert table.count("| complete |") == 3 and "fail" not in table
    # Nothing is left.
    assert run_sweep(sweep, again, lambda _: None) == trials and len(again.started) == 4 - fatal


def killed_before(monkeypatch: pytest.MonkeyPatch, attribute: str, nth: int) -> None:
    """Kill the process as it is about to write an attribute of a trial for the nth time."""
    write = Trial.set_user_attr
    n_written = 0

    def write_or_die(trial: Trial, key: str, value: object) -> None:
        nonlocal n_written
        n_written += key == attribute
        if key == attribute and n_written == nth:
            raise Killed
        write(trial, key, value)

    monkeypatch.setattr(Trial, "set_user_attr", write_or_die)


@pytest.mark.parametrize("values", [INTERVAL, LIST])
def test_a_trial_killed_before_it_had_a_run_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: Values
) -> None:
    sweep = sweep_of(tmp_path, values)
    with monkeypatch.context() as patch:
        killed_before(patch, "run", nth=2)
        with pytest.raises(Killed):
            run_sweep(sweep, InstantRuns(), lambda _: None)
    again = InstantRuns()
    trials = run_sweep(sweep, again, lambda _: None)
    assert len(again.started) == 2
    assert sorted(states(trials)) == ["COMPLETE"] * 3 + ["FAIL"]
    table = write_outcome(sweep.folder, trials, "m")
    assert table.count("| complete |") == 3 and "fail" not in table
    assert (sweep.folder / "results.csv").read_text().count("\n") == 4  # with its header


def test_a_combination_is_not_lost_with_the_trial_that_took_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill right after a trial was asked for: it has no parameter yet."""
    sweep = sweep_of(tmp_path, LIST)

    def killed(*_: object) -> str:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Choices, "suggest", killed)
        with pytest.raises(Killed):
            run_sweep(sweep, InstantRuns(), lambda _: None)
    trials = run_sweep(sweep, InstantRuns(), lambda _: None)
    rates = [settings_of(t)["optimizer.lr"] for t in trials if t.state.name == "COMPLETE"]
    assert sorted(rates) == ["0.1", "0.2", "0.3"]
