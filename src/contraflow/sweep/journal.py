"""The journal of a sweep: one Optuna study for each metric that its runs are ranked by.

A sweep that goes on by another metric reads that one from the runs that are there, and starts none
of them again. With other settings its runs would be those of another sweep; it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from contraflow.errors import UserError
from contraflow.settings import MAY_CHANGE
from contraflow.sweep.metric_names import worth_of
from contraflow.sweep.space import Choices, Values
from contraflow.sweep.trial import RESULT, result_of, run_of, values_of

_SETTINGS, _METRICS = "settings", "metrics"  # user attributes of a study


def open_study(
    folder: Path,
    space: Mapping[str, Values],
    overrides: Sequence[str],
    metric: str,
    watched: str,
) -> optuna.Study:
    """Open or create the study of a sweep for its metrics, with the results of all its runs.

    Args:
        overrides: the fixed settings.
        watched: the metric that pruning watches.
    Raises: UserError for other settings than the runs have, naming one, and while trials by
        another metric have not ended.
    """
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.jsonl")))
    names = optuna.get_all_study_names(storage)
    studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
    settings = _comparable(space, overrides)
    for study in studies:
        _check_settings(folder.name, study.user_attrs.get(_SETTINGS, settings), settings)
    metrics = [metric, watched]
    # A study that was killed before it had its attributes is empty.
    own = next((s for s in studies if s.user_attrs.get(_METRICS, metrics) == metrics), None)
    others = [study for study in studies if study is not own]
    for other in others:
        _check_ended(folder.name, other)
    if own is None:
        name = f"{folder.name} by {metric} and {watched}" if others else folder.name
        own = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    if own.user_attrs != {_SETTINGS: settings, _METRICS: metrics}:
        own.set_user_attr(_SETTINGS, settings)
        own.set_user_attr(_METRICS, metrics)
    known = {run_of(trial) for trial in own.get_trials(deepcopy=False)}
    for other in others:
        for trial in _last_of_each_run(other):
            if run_of(trial) not in known:
                own.add_trial(_measured(trial, folder, metric, watched))
                known.add(run_of(trial))
    return own


def _comparable(space: Mapping[str, Values], overrides: Sequence[str]) -> dict[str, str]:
    """What must stay as it is: fixed settings and lists of values. An interval may be narrowed."""
    settings = {}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if not key.startswith(MAY_CHANGE):
            settings[key] = value
    for key, values in space.items():
        if isinstance(values, Choices):
            settings[f"vary.{key}"] = ",".join(values.values)
        else:
            settings[f"vary.{key}"] = "LOW..HIGH:log" if values.log else "LOW..HIGH"
    return settings


def _check_settings(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Raises: UserError naming the first setting that differs."""
    for key in {**old, **new}:
        if old.get(key) != new.get(key):
            before = f"with {key}={old[key]}" if key in old else f"without {key}=…"
            now = f"with {key}={new[key]}" if key in new else "without it"
            raise UserError(
                f"study={name}: was started {before}, and this command is {now}; give the same "
                "settings, or choose another study=…"
            )


def _check_ended(name: str, study: optuna.Study) -> None:
    """Raises: UserError where a trial runs, or waits to resume its run."""
    for trial in study.get_trials(deepcopy=False):
        waits = trial.state == TrialState.WAITING and run_of(trial)
        if trial.state == TrialState.RUNNING or waits:
            metric, watched = study.user_attrs[_METRICS]
            raise UserError(
                f"study={name}: has a run that has not ended, by metric={metric} "
                f"prune_by={watched}; let the sweep end with these first, or choose another study=…"
            )


def _last_of_each_run(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have ended; of one run the last, as its earlier ones were interrupted."""
    ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and run_of(t)]
    return list({run_of(trial): trial for trial in ended}.values())


def _measured(trial: FrozenTrial, folder: Path, metric: str, watched: str) -> FrozenTrial:
    """A trial that has ended, with the metrics that its run has in its files."""
    run = folder / "runs" / run_of(trial)
    state, value, attributes = trial.state, None, dict(trial.user_attrs)
    attributes.pop(RESULT, None)
    if state == TrialState.COMPLETE or (run / "finished").is_file():
        result = result_of(run, metric)
        state = TrialState.FAIL if math.isnan(result) else TrialState.COMPLETE
        if state == TrialState.COMPLETE:
            value = worth_of(metric, result)
            attributes[RESULT] = result
    return create_trial(
        state=state,
        value=value,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=attributes,
        system_attrs=trial.system_attrs,
        intermediate_values={s: worth_of(watched, v) for s, v in values_of(run, watched)},
    )
