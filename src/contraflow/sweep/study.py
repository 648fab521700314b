"""The trials of a sweep: Optuna proposes settings and prunes, a launcher starts the runs.

The only state is the study's journal, the run folders and the cluster jobs, so the same command
continues a sweep that was killed. It follows cluster jobs that still run. A run that ended with the
killed process is queued again with the same settings; these name the run folder, where the run
resumes from its checkpoint. Only one process may drive a sweep at a time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from contraflow.sweep.attempt import Attempt
from contraflow.sweep.journal import open_study
from contraflow.sweep.launcher import Launcher
from contraflow.sweep.space import Values, combinations, grid_size
from contraflow.sweep.trial import run_of, settings_of

__all__ = ["Sweep", "run_of", "run_sweep", "settings_of"]

PrintLine = Callable[[str], None]
_POLL_S = 0.5


@dataclass(frozen=True)
class Sweep:
    """The settings of a sweep."""

    folder: Path
    space: Mapping[str, Values]  # the varied keys
    overrides: Sequence[str]  # the fixed ones
    metric: str  # the runs are ranked by it
    watched: str  # validation metric that decides on pruning
    n_trials: int
    prune: bool
    seed: int


def run_sweep(sweep: Sweep, launcher: Launcher, print_line: PrintLine) -> list[FrozenTrial]:
    """Run the trials that are still missing and return all trials in the order of their start."""
    sweep.folder.mkdir(parents=True, exist_ok=True)
    study = _study(sweep, launcher)
    running: dict[str, Attempt] = {}
    try:
        _resume_trials(sweep, study, launcher, running, print_line)
        while True:
            _start_trials(sweep, study, launcher, running, print_line)
            if not running:
                return study.get_trials(deepcopy=False)
            for name, attempt in list(running.items()):
                if attempt.has_ended(study, print_line):
                    del running[name]
            time.sleep(_POLL_S)
    finally:
        for attempt in running.values():
            attempt.job.part()


def _start_trials(
    sweep: Sweep,
    study: optuna.Study,
    launcher: Launcher,
    running: dict[str, Attempt],
    print_line: PrintLine,
) -> None:
    """Start trials until the launcher is full or no trial is missing."""
    while len(running) < launcher.at_once and _n_done(study) + len(running) < sweep.n_trials:
        trial = study.ask()
        settings = {key: values.suggest(trial, key) for key, values in sweep.space.items()}
        name = _name(settings)
        trial.set_user_attr("settings", dict(settings))
        trial.set_user_attr("run", name)
        if name in running:
            # The run counts for both trials. Optuna proposes anew once a run has ended.
            running[name].twins.append(trial)
            return
        overrides = _overrides(settings)
        print_line(f"trial {trial.number + 1} of {sweep.n_trials}: {' '.join(overrides)}")
        attempt = _attempt(sweep, trial, name, overrides)
        attempt.start(launcher)
        running[name] = attempt


def _overrides(settings: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in settings.items()]


def _attempt(sweep: Sweep, trial: Trial, name: str, overrides: Sequence[str]) -> Attempt:
    return Attempt(
        trial=trial,
        overrides=[*sweep.overrides, *overrides, f"name={name}"],
        folder=sweep.folder / "runs" / name,
        log=sweep.folder / f"{name}.log",
        metric=sweep.metric,
        watched=sweep.watched,
        prune=sweep.prune,
    )


def _study(sweep: Sweep, launcher: Launcher) -> optuna.Study:
    """Open or create the study; where all combinations fit, queue each of them."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = open_study(sweep.folder, sweep.space, sweep.overrides, sweep.metric, sweep.watched)
    median = optuna.pruners.MedianPruner(n_startup_trials=3)
    study.pruner = median if sweep.prune else optuna.pruners.NopPruner()
    n_started = sum(t.state != TrialState.WAITING for t in study.get_trials(deepcopy=False))
    study.sampler = TPESampler(
        # A sweep that goes on with its first seed would propose its first settings once more.
        seed=sweep.seed + n_started,
        # While trials run, a proposal close to one of them would add little.
        constant_liar=launcher.at_once > 1,
    )
    size = grid_size(sweep.space)
    if size is not None and size <= sweep.n_trials:
        for combination in combinations(sweep.space):
            study.enqueue_trial(combination, skip_if_exists=True)
    return study


def _resume_trials(
    sweep: Sweep,
    study: optuna.Study,
    launcher: Launcher,
    running: dict[str, Attempt],
    print_line: PrintLine,
) -> None:
    """Follow the jobs that an earlier process left; queue the runs that ended with it again."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        name = run_of(trial)
        job = launcher.find(trial.user_attrs.get("job", ""), sweep.folder / f"{name}.log")
        if job is None or name in running:
            # In this order: a kill in between repeats a run that has ended, and loses none.
            _queue_again(study, trial)
            study.tell(trial.number, state=TrialState.FAIL)
            continue
        overrides = _overrides(settings_of(trial))
        attempt = _attempt(sweep, Trial(study, trial._trial_id), name, overrides)
        attempt.resume(launcher, job)
        running[name] = attempt
        print_line(
            f"trial {trial.number + 1} of {sweep.n_trials}: {' '.join(overrides)}, "
            f"still job {job.name}"
        )


def _queue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial with the same settings and, if it had a run, the name of that run.

    The name is kept, as the settings of a run are rounded and those of the trial are not. A trial
    that was killed early has those settings that it was queued with, and maybe none.
    """
    name = run_of(trial)
    settings = trial.system_attrs.get("fixed_params", {}) | trial.params
    study.enqueue_trial(settings, user_attrs={"run": name} if name else None)


def _n_done(study: optuna.Study) -> int:
    """The number of runs with an outcome or a failure, without those that are queued again."""
    trials = study.get_trials(deepcopy=False)
    ended = {run_of(trial) for trial in trials if trial.state.is_finished()}
    queued = {
        run_of(trial) or _name(trial.system_attrs.get("fixed_params", {}))
        for trial in trials
        if trial.state == TrialState.WAITING
    }
    return len(ended - queued - {""})


def _name(settings: Mapping[str, str]) -> str:
    """Name of the run folder: trials with the same settings share a run."""
    text = "\x1f".join(f"{key}={value}" for key, value in sorted(settings.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
