"""The median rule in a small real study: a bad trial is stopped and not run again."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from contraflow.sweep.launcher import LocalLauncher
from contraflow.sweep.outcome import write_outcome
from contraflow.sweep.study import run_sweep, settings_of
from contraflow.sweep.trial import values_of
from support.sweep import METRIC, sweep_of

STEPS, EVERY = 60, 5
GOOD, BAD, LAST = ("0.001", "0.003", "0.01"), "3", "0.002"


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_trials", "fork_server")
def test_the_median_rule_stops_a_bad_trial_and_the_study_goes_on(tmp_path: Path):
    """A learning rate of 3 is below the median of three whole trials at its first validation.

    The sweep is interrupted there; taken up again, it runs what is left but the pruned trial.
    """
    sweep = sweep_of(
        tmp_path, f"steps={STEPS}", f"every={EVERY}", n=5, prune=True, rates=(*GOOD, BAD, LAST)
    )
    # The result is another metric than the one that pruning watches.
    sweep = replace(sweep, metric="val_log_contradiction")
    printed: list[str] = []

    def print_line(line: str) -> None:
        printed.append(line)
        if "pruned" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, LocalLauncher(), print_line)
    assert printed[-1] == f"  trial 4: pruned, its {METRIC} is below the median of the others"
    trials = optuna.load_study(study_name="quality", storage=_storage(tmp_path)).get_trials()
    bad = tmp_path / "quality" / "runs" / trials[3].user_attrs["run"]
    assert settings_of(trials[3])["optimizer.lr"] == BAD
    assert (bad / "checkpoints" / "last.ckpt").is_file() and not (bad / "finished").exists()
    steps = [step for step, _ in values_of(bad, METRIC)]
    assert steps[0] == EVERY - 1 and len(steps) < STEPS / EVERY
    step, value = trials[3].last_step, values_of(bad, METRIC)
    others = sorted(t.intermediate_values[step] for t in trials[:3])
    assert max(v for s, v in value if s <= step) < others[1], "the rule by hand"
    log = (tmp_path / "quality" / f"{bad.name}.log").read_bytes()

    # Without pruning, so that the last trial ends.
    trials = run_sweep(replace(sweep, prune=False), LocalLauncher(), print)
    states = {settings_of(t)["optimizer.lr"]: t.state.name for t in trials}
    assert states == {**dict.fromkeys((*GOOD, LAST), "COMPLETE"), BAD: "PRUNED"}
    assert (tmp_path / "quality" / f"{bad.name}.log").read_bytes() == log
    write_outcome(tmp_path / "quality", trials, sweep.metric)
    rows = list(csv.DictReader((tmp_path / "quality" / "results.csv").open()))
    assert [row["state"] for row in rows] == ["complete"] * 4 + ["pruned"]
    assert (rows[-1]["optimizer.lr"], rows[-1][sweep.metric]) == (BAD, "")
    picture = (tmp_path / "quality" / "results.svg").read_text()
    assert (picture.count("<circle"), picture.count("pruned</title>")) == (4, 1)


def _storage(folder: Path) -> optuna.storages.JournalStorage:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "quality" / "journal.jsonl"))
    return optuna.storages.JournalStorage(backend)


def test_a_pruned_trial_has_no_result(tmp_path: Path):
    """Optuna gives it the watched number, which would be first in the table of another metric."""
    trials = [
        create_trial(state=state, value=value, user_attrs={"settings": {"a": word}, "run": word})
        for word, value, state in (("x", 0.25, TrialState.COMPLETE), ("y", 7.0, TrialState.PRUNED))
    ]
    table = write_outcome(tmp_path, trials, "strict_success")
    assert table.splitlines()[2:] == [
        "| x | 0.2500 | complete | runs/x |",
        "| y |  | pruned | runs/y |",
    ]
    picture = (tmp_path / "results.svg").read_text()
    assert "strict_success (× pruned)" in picture and "<title>a=y: pruned</title>" in picture
    assert "7.0" not in picture and picture.count("<circle") == 1
