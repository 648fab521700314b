"""A metric that no run has is refused before the first run of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from contraflow.errors import UserError
from contraflow.evaluation.definitions import DEFINITIONS
from contraflow.facts import read_facts, write_facts
from contraflow.gflownet.policy_gradient import Grpo, Rloo
from contraflow.run.learning import build_objective
from contraflow.settings import Config, ObjectiveConfig
from contraflow.settings.learning import BALANCE
from contraflow.sweep.metric_names import (
    _STEP,
    ANY_HISTORY,
    BETTER,
    EVALUATION,
    history_metrics,
    require_metric_of_run,
    worth_of,
)
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


@pytest.mark.parametrize("name", ["question_words", "learning_rate", "log_z"])
def test_a_metric_without_a_better_direction_is_refused(contraflow: Call, name: str) -> None:
    message = f"{name}: is neither better when it is high nor when it is low"
    assert_one_error(contraflow(*SWEEP, f"metric={name}"), f"metric={message}", "val_elbo")


@pytest.mark.parametrize(
    ("name", "best_first"),
    [
        ("strict_success", [0.9, 0.5, 0.1]),
        ("val_elbo", [-1.0, -2.0]),
        ("self_bleu", [0.1, 0.5]),
        ("loss", [0.0, 2.0]),
        ("var_log_ratio", [0.0, 3.0]),
        ("slope", [1.0, 1.2, 0.5, -0.5]),
        ("length_reward_correlation", [0.1, -0.2, 0.3]),
    ],
)
def test_worth_orders_the_best_first(name: str, best_first: list[float]) -> None:
    assert sorted(best_first, key=lambda value: -worth_of(name, value)) == best_first


def test_every_metric_says_which_way_it_is_better() -> None:
    """The evaluation and the history share some names, and must not disagree."""
    assert set(BETTER) == {*EVALUATION, *ANY_HISTORY}
    assert {d.name: d.better for d in DEFINITIONS}.items() <= BETTER.items()
    shared = {name: better for name, better in _STEP.items() if name in EVALUATION}
    assert shared.items() <= BETTER.items() and len(shared) > 5


@pytest.mark.parametrize("word", ["name=a", "run_dir=a", "vary.name=a,b", "vary.run_dir=a,b"])
def test_a_sweep_names_its_runs_itself(contraflow: Call, word: str) -> None:
    """All trials were one setting, and a fixed name was ignored."""
    assert_one_error(contraflow(*SWEEP, word), f"{word}: a sweep names the folders", "study=")


def test_an_interval_of_whole_numbers_says_to_list_them(contraflow: Call) -> None:
    result = contraflow("sweep", "study=s", "vary.trainer.n_steps=1..2", "trials=2")
    assert_one_error(result, "vary.trainer.n_steps: takes whole numbers", "list the values")


def test_a_metric_that_only_other_runs_have_is_refused(contraflow: Call) -> None:
    words = ("sweep", "study=s", "vary.objective.name=tb,vargrad", "metric=log_z_gap")
    assert_one_error(contraflow(*words), "metric=log_z_gap: objective=vargrad learns no log Z")
    words = (*SWEEP, "evaluation.enabled=false", "metric=distinct_questions")
    assert_one_error(contraflow(*words), "metric=distinct_questions", "evaluation.enabled=false")


def test_runs_without_evaluation_have_their_history() -> None:
    config = Config()
    config.evaluation.enabled = False
    for name in ("loss", "val_elbo"):
        require_metric_of_run("metric", name, config, evaluated=True)


@pytest.mark.parametrize("name", ["strict_success", "log_contradiction"])
def test_a_batch_of_training_facts_does_not_stand_in_for_the_evaluation(name: str) -> None:
    """Steps have metrics of these names too; those of the last one tell trials apart by chance."""
    config = Config()
    config.evaluation.enabled = False
    with pytest.raises(UserError, match=r"evaluation.enabled=false leaves out; use true, or one"):
        require_metric_of_run("metric", name, config, evaluated=True)
    require_metric_of_run("prune_by", name, config, evaluated=False)


def answer_facts(path: Path) -> None:
    facts = read_facts(path)
    write_facts(path, [msgspec.structs.replace(f, original_answer=f.relation) for f in facts])


def test_a_run_has_the_metrics_that_are_named(tiny: Path) -> None:
    answer_facts(tiny / "facts.jsonl")  # strict success is of facts with an answer
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
