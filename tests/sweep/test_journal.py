"""A sweep that is started again: by another metric, or with other settings.

A fake launcher ends each run at once with given measurements; the journal and the table are real.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from contraflow.errors import UserError
from contraflow.sweep.outcome import write_outcome
from contraflow.sweep.space import Choices, Interval, Values
from contraflow.sweep.study import Sweep, run_sweep

LR = "optimizer.lr"
LIST = Choices(("0.1", "0.2"))
# What the run of each learning rate has, by metric; None is not defined.
MEASURED: dict[str, dict[str, float | None]] = {
    "0.1": {"strict_success": 0.1, "distinct_valid": 0.8, "self_bleu": 0.3, "vendi": None},
    "0.2": {"strict_success": 0.2, "distinct_valid": 0.7, "self_bleu": 0.4, "vendi": 2.0},
}


@dataclass
class MeasuredRun:
    """A run that is finished and measured when it is looked at first."""

    folder: Path
    measured: Mapping[str, float | None]
    name: str = ""

    def poll(self) -> int:
        rows = {
            name: {"value": v, "low": None, "high": None, "n": 2, "unit": "", "meaning": ""}
            for name, v in self.measured.items()
        }
        content = {"schema": 1, "n_facts": 2, "n_questions": 4, "metrics": rows}
        path = self.folder / "evaluation" / "after.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        (self.folder / "finished").touch()
        return 0

    def stop(self) -> None:
        """Nothing runs."""

    def part(self) -> None:
        """Nothing runs."""


@dataclass
class MeasuredRuns:
    """Starts runs with the measurements of their learning rate."""

    at_once: int = 1
    n_started: int = 0

    def start(self, command: Sequence[str], log: Path) -> MeasuredRun:  # noqa: ARG002
        words = dict(word.split("=", 1) for word in command if "=" in word)
        self.n_started += 1
        return MeasuredRun(Path(words["run_dir"]), MEASURED.get(words[LR], {"self_bleu": 0.5}))

    def find(self, name: str, log: Path) -> None:
        """No job outlives its process."""


@dataclass
class Started:
    """One start of the command: what was printed, the table and the number of runs."""

    trials: list[FrozenTrial]
    table: list[str]
    n_runs: int
    printed: list[str] = field(default_factory=list)


def sweep_of(folder: Path, metric: str, *words: str, values: Values = LIST, n: int = 2) -> Sweep:
    watched = "val_log_contradiction"
    return Sweep(folder / "q", {LR: values}, words, metric, watched, n, prune=False, seed=0)


def start(sweep: Sweep) -> Started:
    launcher = MeasuredRuns()
    printed: list[str] = []
    trials = run_sweep(sweep, launcher, printed.append)
    lines = write_outcome(sweep.folder, trials, sweep.metric).splitlines()
    cells = [line.strip("| ").rsplit(" | ", 1)[0] for line in lines]  # without the run's name
    return Started(trials, [cells[0], *cells[2:]], launcher.n_started, printed)


def test_another_metric_is_read_anew_and_no_run_is_repeated(tmp_path: Path):
    """The old numbers were shown under the new name."""
    first = start(sweep_of(tmp_path, "strict_success"))
    assert first.n_runs == 2
    rows = [f"{LR} | strict_success | state", "0.2 | 0.2000 | complete", "0.1 | 0.1000 | complete"]
    assert first.table == rows
    other = start(sweep_of(tmp_path, "distinct_valid"))
    assert other.n_runs == 0
    assert other.table == [
        f"{LR} | distinct_valid | state",
        "0.1 | 0.8000 | complete",
        "0.2 | 0.7000 | complete",
    ]
    again = start(sweep_of(tmp_path, "strict_success"))
    assert (again.n_runs, again.table) == (0, rows)


def test_a_metric_that_is_better_when_low_is_minimized(tmp_path: Path):
    """The worst run stood first, and the proposals went towards it."""
    started = start(sweep_of(tmp_path, "self_bleu"))
    assert started.table[1:] == ["0.1 | 0.3000 | complete", "0.2 | 0.4000 | complete"]
    assert max(started.trials, key=lambda t: t.value or 0.0).params[LR] == "0.1"
    assert [line.split(": ")[1] for line in started.printed if line[0] == " "] == [
        "self_bleu 0.3",
        "self_bleu 0.4",
    ]


def test_an_undefined_metric_is_no_result_and_the_others_run(tmp_path: Path):
    """Optuna takes no NaN, and the sweep ended there, at each start."""
    started = start(sweep_of(tmp_path, "vendi"))
    assert started.n_runs == 2
    assert started.table[1:] == ["0.2 | 2.0000 | complete", "0.1 |  | fail"]
    assert "  trial 1: no result: vendi is not defined for its questions" in started.printed
    again = start(sweep_of(tmp_path, "vendi"))
    assert (again.n_runs, again.table) == (0, started.table)
    # By a metric that it has, the run counts.
    assert start(sweep_of(tmp_path, "strict_success")).table[2] == "0.1 | 0.1000 | complete"


def test_a_metric_that_no_file_has_is_no_result(tmp_path: Path):
    """Such as strict success of a history without one fact whose answer is known."""
    started = start(sweep_of(tmp_path, "val_elbo"))
    assert [row.split(" | ")[1:] for row in started.table[1:]] == [["", "fail"]] * 2


def test_new_trials_by_another_metric_build_on_the_old_ones(tmp_path: Path):
    interval = Interval(0.3, 0.9)
    start(sweep_of(tmp_path, "self_bleu", values=interval, n=3))
    more = start(replace(sweep_of(tmp_path, "self_bleu", values=interval, n=5), watched="val_elbo"))
    assert more.n_runs == 2
    assert len({trial.params[LR] for trial in more.trials}) == 5


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (
            ("experiment=quickstart",),
            ("experiment=overnight",),
            "was started with experiment=quickstart, and this command is with experiment=overnight",
        ),
        ((), ("trainer.n_steps=9",), "without trainer.n_steps=…, and this command is with"),
        (("trainer.n_steps=9",), (), "with trainer.n_steps=9, and this command is without it"),
    ],
)
def test_other_fixed_settings_are_refused(
    tmp_path: Path, before: tuple[str, ...], now: tuple[str, ...], message: str
):
    """The table of the old runs was shown as theirs."""
    start(sweep_of(tmp_path, "strict_success", *before))
    with pytest.raises(UserError, match=r"^study=q: .*; give the same settings") as refused:
        start(sweep_of(tmp_path, "strict_success", *now))
    assert message in str(refused.value)
    with pytest.raises(UserError, match=r"^study=q: "):
        start(sweep_of(tmp_path, "self_bleu", *now))


def test_order_and_settings_without_effect_may_change(tmp_path: Path):
    start(sweep_of(tmp_path, "strict_success", "seed=1", "trainer.n_steps=9", "trainer.threads=1"))
    again = sweep_of(tmp_path, "strict_success", "+trainer.n_steps=9", "seed=1", "logger.csv=true")
    assert start(again).n_runs == 0


def test_other_lists_of_values_are_refused(tmp_path: Path):
    start(sweep_of(tmp_path, "strict_success"))
    with pytest.raises(UserError, match=rf"vary\.{LR}=0\.1,0\.2, .*vary\.{LR}=0\.2,0\.3"):
        start(sweep_of(tmp_path, "strict_success", values=Choices(("0.2", "0.3"))))


def test_an_interval_may_be_narrowed_for_more_trials(tmp_path: Path):
    start(sweep_of(tmp_path, "self_bleu", values=Interval(0.3, 0.9), n=2))
    assert start(sweep_of(tmp_path, "self_bleu", values=Interval(0.4, 0.5), n=4)).n_runs == 2
    with pytest.raises(UserError, match=rf"with vary\.{LR}=LOW\.\.HIGH, .*HIGH:log"):
        start(sweep_of(tmp_path, "self_bleu", values=Interval(0.4, 0.5, log=True), n=4))


def test_another_metric_waits_for_runs_that_have_not_ended(tmp_path: Path, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MeasuredRun, "poll", killed)
        start(sweep_of(tmp_path, "strict_success"))
    with pytest.raises(
        UserError, match=r"^study=q: .*not ended, by metric=strict_success prune_by="
    ):
        start(sweep_of(tmp_path, "self_bleu"))
    assert start(sweep_of(tmp_path, "strict_success")).n_runs == 2
    assert start(sweep_of(tmp_path, "self_bleu")).n_runs == 0
