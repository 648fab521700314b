"""The trials of a sweep; the study's journal, the runs' folders and the jobs of a cluster are the
only state.

Optuna proposes and prunes. A sweep that was killed goes on with the same command: a job that still
runs is found again; what ran in the process that was killed is asked for again under the same
settings, hence in the same run folder, where it resumes from its checkpoint. One process drives a
sweep at a time.
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

Say = Callable[[str], None]
_POLL_S = 0.5


@dataclass(frozen=True)
class Sweep:
    """What is varied, what is fixed, and what counts."""

    folder: Path
    space: Mapping[str, Values]
    overrides: Sequence[str]
    metric: str
    watched: str  # validation number by which trials are pruned
    n_trials: int
    prune: bool
    seed: int


def run_sweep(sweep: Sweep, launcher: Launcher, say: Say) -> list[FrozenTrial]:
    """Run what is still missing of the trials; returns all of them, in the order in which they were
    begun.
    """
    sweep.folder.mkdir(parents=True, exist_ok=True)
    study = _study(sweep, launcher)
    underway: dict[str, Attempt] = {}
    try:
        _take_up_what_was_running(sweep, study, launcher, underway, say)
        while True:
            _begin(sweep, study, launcher, underway, say)
            if not underway:
                return study.get_trials(deepcopy=False)
            for name in [
                name for name, attempt in underway.items() if attempt.has_ended(study, say)
            ]:
                del underway[name]
            time.sleep(_POLL_S)
    finally:
        for attempt in underway.values():
            attempt.job.part()


def settings_of(trial: FrozenTrial) -> dict[str, str]:
    """What a trial varied, as it was given to its run."""
    return dict(trial.user_attrs.get("settings", {}))


def _begin(
    sweep: Sweep, study: optuna.Study, launcher: Launcher, underway: dict[str, Attempt], say: Say
) -> None:
    """Start trials until as many run as may, or as are missing."""
    while len(underway) < launcher.at_once and _n_done(study) + len(underway) < sweep.n_trials:
        trial = study.ask()
        settings = {key: values.suggest(trial, key) for key, values in sweep.space.items()}
        name = _name(settings)
        trial.set_user_attr("settings", dict(settings))
        trial.set_user_attr("run", name)
        if (
            name in underway
        ):  # the same run: it ends for both, and until something has ended there is no news
            underway[name].twins.append(trial)
            return
        words = [f"{key}={value}" for key, value in settings.items()]
        say(f"trial {trial.number + 1} of {sweep.n_trials}: {' '.join(words)}")
        attempt = _attempt(sweep, trial, name, words)
        attempt.start(launcher)
        underway[name] = attempt


def _attempt(sweep: Sweep, trial: Trial, name: str, words: Sequence[str]) -> Attempt:
    return Attempt(
        trial,
        [*sweep.overrides, *words, f"name={name}"],
        sweep.folder / "runs" / name,
        sweep.folder / f"{name}.log",
        sweep.metric,
        sweep.watched,
        sweep.prune,
    )


def _study(sweep: Sweep, launcher: Launcher) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(sweep.folder / "journal.jsonl")))
    pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=3)
        if sweep.prune
        else optuna.pruners.NopPruner()
    )
    study = optuna.create_study(
        study_name=sweep.folder.name,
        storage=storage,
        # beside trials that run, a proposal near one of them would learn little
        sampler=TPESampler(seed=sweep.seed, constant_liar=launcher.at_once > 1),
        pruner=pruner,
        direction="maximize",
        load_if_exists=True,
    )
    size = grid_size(sweep.space)
    if size is not None and size <= sweep.n_trials:
        for combination in _combinations(sweep.space):
            study.enqueue_trial(combination, skip_if_exists=True)
    return study


def _combinations(space: Mapping[str, Values]) -> Iterator[dict[str, str]]:
    """Each once, in the order in which they are written."""
    listed = [values.values for values in space.values() if isinstance(values, Choices)]
    return (dict(zip(space, words, strict=True)) for words in product(*listed))


def _take_up_what_was_running(
    sweep: Sweep, study: optuna.Study, launcher: Launcher, underway: dict[str, Attempt], say: Say
) -> None:
    """Go on with jobs that an earlier process left; ask again for what ended with it."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        name, settings = trial.user_attrs.get("run", ""), settings_of(trial)
        job = launcher.find(trial.user_attrs.get("job", ""), sweep.folder / f"{name}.log")
        if job is None or name in underway:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
            continue
        words = [f"{key}={value}" for key, value in settings.items()]
        attempt = _attempt(sweep, Trial(study, trial._trial_id), name, words)
        attempt.resume(launcher, job)
        underway[name] = attempt
        say(
            f"trial {trial.number + 1} of {sweep.n_trials}: {' '.join(words)}, still job {job.name}"
        )


def _n_done(study: optuna.Study) -> int:
    """Different settings that have an outcome, be it a failure; not those that are asked for again."""
    trials = study.get_trials(deepcopy=False)
    waiting = {
        _name(t.system_attrs.get("fixed_params", {}))
        for t in trials
        if t.state == TrialState.WAITING
    }
    runs = {t.user_attrs.get("run") for t in trials if t.state.is_finished()}
    return len(runs - waiting)


def _name(settings: Mapping[str, str]) -> str:
    """A run's folder: the same settings are the same run, whichever trial asks."""
    text = "\x1f".join(f"{key}={value}" for key, value in sorted(settings.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
