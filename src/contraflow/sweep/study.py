"""The trials of a sweep, one after another; the study's journal and the runs' folders are the only state.

Optuna proposes and prunes. A sweep that was killed goes on with the same command: what was running is asked for again
under the same settings, hence in the same run folder, where it resumes from its checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from contraflow.sweep.space import Choices, Values, grid_size
from contraflow.sweep.trial import TrialFailed, result_of, run_trial

Say = Callable[[str], None]


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


def run_sweep(sweep: Sweep, say: Say) -> list[FrozenTrial]:
    """Run what is still missing of the trials; returns all of them, in the order in which they were begun."""
    sweep.folder.mkdir(parents=True, exist_ok=True)
    study = _study(sweep)
    _ask_again_for_what_was_running(study)
    while _n_done(study) < sweep.n_trials:
        trial = study.ask()
        settings = {key: values.suggest(trial, key) for key, values in sweep.space.items()}
        _run(sweep, study, trial, settings, say)
    return study.get_trials(deepcopy=False)


def settings_of(trial: FrozenTrial) -> dict[str, str]:
    """What a trial varied, as it was given to its run."""
    return dict(trial.user_attrs.get("settings", {}))


def _run(sweep: Sweep, study: optuna.Study, trial: Trial, settings: Mapping[str, str], say: Say) -> None:
    name = _name(settings)
    trial.set_user_attr("settings", dict(settings))
    trial.set_user_attr("run", name)
    words = [f"{key}={value}" for key, value in settings.items()]
    say(f"trial {trial.number + 1} of {sweep.n_trials}: {' '.join(words)}")

    def should_stop(step: int, value: float) -> bool:
        trial.report(value, step)
        return sweep.prune and trial.should_prune()

    folder = sweep.folder / "runs" / name
    log = sweep.folder / f"{name}.log"
    try:
        whole = run_trial([*sweep.overrides, *words, f"name={name}"], folder, log, sweep.watched, should_stop)
    except TrialFailed as error:
        study.tell(trial, state=TrialState.FAIL)
        say(f"  failed: {error}")
        return
    if not whole:
        study.tell(trial, state=TrialState.PRUNED)
        say(f"  pruned: its {sweep.watched} is below the median of the others")
        return
    value = result_of(folder, sweep.metric)
    study.tell(trial, value)
    say(f"  {sweep.metric} {value:.4g}")


def _study(sweep: Sweep) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(sweep.folder / "journal.jsonl")))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3) if sweep.prune else optuna.pruners.NopPruner()
    study = optuna.create_study(
        study_name=sweep.folder.name,
        storage=storage,
        sampler=TPESampler(seed=sweep.seed),
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


def _ask_again_for_what_was_running(study: optuna.Study) -> None:
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _n_done(study: optuna.Study) -> int:
    """Different settings that have an outcome, be it a failure; not those that are asked for again."""
    trials = study.get_trials(deepcopy=False)
    waiting = {_name(t.system_attrs.get("fixed_params", {})) for t in trials if t.state == TrialState.WAITING}
    runs = {t.user_attrs.get("run") for t in trials if t.state.is_finished()}
    return len(runs - waiting)


def _name(settings: Mapping[str, str]) -> str:
    """A run's folder: the same settings are the same run, whichever trial asks."""
    text = "\x1f".join(f"{key}={value}" for key, value in sorted(settings.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
