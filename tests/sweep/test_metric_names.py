"""A metric that no run has is refused before the first run of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contraflow.gflownet.policy_gradient import Grpo, Rloo
from contraflow.run.learning import build_objective
from contraflow.settings import Config, ObjectiveConfig
from contraflow.settings.learning import BALANCE
from contraflow.sweep.metric_names import EVALUATION, history_metrics, require_metric_of_run
from contraflow.training import job
from support.cli import Result, assert_one_error
from support.runs import tiny_config

Call = Callable[..., Result]
SWEEP = ("sweep", "study=s", "vary.seed=1,2")


def test_an_unknown_metric_is_refused(contraflow: Call, tmp_path: Path) -> None:
    result = contraflow(*SWEEP, "metric=strict_sucess")
    assert_one_error(
        result, "metric=strict_sucess: no such metric (did you mean strict_success?)", "val_elbo"
    )
    assert not (tmp_path / "sweeps").exists()


def test_an_unknown_metric_to_prune_by_is_refused(contraflow: Call) -> None:
    result = contraflow(*SWEEP, "prune=true", "prune_by=val_log_rewards")
    assert_one_error(result, "prune_by=val_log_rewards", "did you mean val_log_reward?")


def test_a_metric_of_the_evaluation_cannot_prune(contraflow: Call) -> None:
    """It is measured after training, so that nothing is left to stop."""
    result = contraflow(*SWEEP, "prune=true", "prune_by=distinct_questions")
    assert_one_error(result, "prune_by=distinct_questions: no such metric", "val_log_contradiction")


def test_a_metric_that_only_other_runs_have_is_refused(contraflow: Call) -> None:
    words = ("sweep", "study=s", "vary.objective.name=tb,vargrad", "metric=log_z")
    assert_one_error(contraflow(*words), "metric=log_z: objective=vargrad learns no log Z")
    words = (*SWEEP, "evaluation.enabled=false", "metric=distinct_questions")
    assert_one_error(contraflow(*words), "metric=distinct_questions", "evaluation.enabled=false")


def test_runs_without_evaluation_have_their_history() -> None:
    config = Config()
    config.evaluation.enabled = False
    for name in ("strict_success", "val_elbo"):
        require_metric_of_run("metric", name, config, evaluated=True)


def test_a_run_has_the_metrics_that_are_named(tiny: Path) -> None:
    trainer = replace(tiny_config(tiny).trainer, n_steps=4)
    config = tiny_config(tiny, trainer=trainer, objective=ObjectiveConfig(forward_kl=0.5))
    job.train(config)
    history = (tiny / "run" / "history.jsonl").read_text().splitlines()
    found = set().union(*map(json.loads, history)) - {"step"}
    assert found == set(history_metrics(config))


@pytest.mark.parametrize("name", BALANCE)
def test_flow_metrics_are_of_objectives_with_a_flow(name: str) -> None:
    config = Config(objective=ObjectiveConfig(name=name))
    assert ("log_z" in history_metrics(config)) == build_objective(config).uses_flow


def test_policy_gradients_have_no_flow_metrics() -> None:
    assert not Rloo.uses_flow and not Grpo.uses_flow
    config = Config(objective=ObjectiveConfig(name="grpo"))
    assert "log_z" not in history_metrics(config) and "strict_success" in EVALUATION
