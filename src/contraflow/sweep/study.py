"""The trials of a sweep: Optuna proposes settings and prunes, a launcher starts the runs.

The only state is the study's journal, the run folders and the cluster jobs, so the same command
continues a sweep that was killed. It follows cluster jobs that still run. A run that ended with the
killed process is queued again with the same settings; these name the run folder, where the run
resumes from its checkpoint. Only one process may drive a sweep at a time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from contraflow.sweep.attempt import Attempt
from contraflow.sweep.launcher import Launcher
from contraflow.sweep.space import Choices, Values, grid_size

PrintLine = Callable[[str], None]
_POLL_S = 0.5


@dataclass(frozen=True)
class Sweep:
    """The settings of a sweep."""

    folder: Path
    space: Mapping[str, Values]  # the varied keys
    overrides: Sequence[str]  # the fixed ones
    metric: str  # to be maximized
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


def settings_of(trial: FrozenTrial) -> dict[str, str]:
    """Return the varied settings of a trial, as its run received them."""
    return dict(trial.user_attrs.get("settings", {}))


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
    storage = JournalStorage(JournalFileBackend(str(sweep.folder / "journal.jsonl")))
    median = optuna.pruners.MedianPruner(n_startup_trials=3)
    study = optuna.create_study(
        study_name=sweep.folder.name,
        storage=storage,
        # constant_liar: while trials run, a proposal close to one of them would add little.
        sampler=TPESampler(seed=sweep.seed, constant_liar=launcher.at_once > 1),
        pruner=median if sweep.prune else optuna.pruners.NopPruner(),
        direction="maximize",
        load_if_exists=True,
    )
    size = grid_size(sweep.space)
    if size is not None and size <= sweep.n_trials:
        for combination in _combinations(sweep.space):
            study.enqueue_trial(combination, skip_if_exists=True)
    return study


def _combinations(space: Mapping[str, Values]) -> Iterator[dict[str, str]]:
    """Every combination of the listed values, in the order of the space."""
    listed = [values.values for values in space.values() if isinstance(values, Choices)]
    for values in product(*listed):
        yield dict(zip(space, values, strict=True))


def _resume_trials(
    sweep: Sweep,
    study: optuna.Study,
    launcher: Launcher,
    running: dict[str, Attempt],
    print_line: PrintLine,
) -> None:
    """Follow the jobs that an earlier process left; queue the runs that ended with it again."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        name = trial.user_attrs.get("run", "")
        job = launcher.find(trial.user_attrs.get("job", ""), sweep.folder / f"{name}.log")
        if job is None or name in running:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
            continue
        overrides = _overrides(settings_of(trial))
        attempt = _attempt(sweep, Trial(study, trial._trial_id), name, overrides)
        attempt.resume(launcher, job)
        running[name] = attempt
        print_line(
            f"trial {trial.number + 1} of {sweep.n_trials}: {' '.join(overrides)}, "
            f"still job {job.name}"
        )


def _n_done(study: optuna.Study) -> int:
    """The number of runs with an outcome or a failure, without those that are queued again."""
    trials = study.get_trials(deepcopy=False)
    ended = {trial.user_attrs.get("run") for trial in trials if trial.state.is_finished()}
    queued = {
        _name(trial.system_attrs.get("fixed_params", {}))
        for trial in trials
        if trial.state == TrialState.WAITING
    }
    return len(ended - queued)


def _name(settings: Mapping[str, str]) -> str:
    """Name of the run folder: trials with the same settings share a run."""
    text = "\x1f".join(f"{key}={value}" for key, value in sorted(settings.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
