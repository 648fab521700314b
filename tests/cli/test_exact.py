"""`contraflow exact` on the command line: its output, and what it refuses before any import."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from contraflow.cli.commands.exact import ARCHITECTURES, OBJECTIVES, REWARDS
from support.cli import Result, assert_one_error

Call = Callable[..., Result]
SMALL = ("vocab=2", "max_len=2", "n_steps=3")


def test_the_choices_are_those_of_the_code_that_it_calls() -> None:
    """The command repeats them, so that help needs no torch."""
    from contraflow.exactness import space
    from contraflow.run.learning import build_objective
    from contraflow.settings import Config, ObjectiveConfig

    assert REWARDS == space.REWARD_KINDS and set(ARCHITECTURES) == set(space.ARCHITECTURES)
    for name in OBJECTIVES:
        build_objective(Config(objective=ObjectiveConfig(name=name)))


@pytest.mark.parametrize("flag", ["json=true", "--json"])
def test_json_holds_the_question_and_the_answer(contraflow: Call, flag: str) -> None:
    result = contraflow(
        "exact", "objective=tb", "seed=5", "reward=peaky", "architecture=gpt2", *SMALL, flag
    )
    assert result.code == 0, result.err
    numbers = json.loads(result.out)
    assert (numbers["objective"], numbers["seed"], numbers["reward"], numbers["architecture"]) == (
        "tb",
        5,
        "peaky",
        "gpt2",
    )
    assert numbers["n_questions"] == 2 + 4
    assert 0 <= numbers["total_variation"] <= 1 and numbers["log_z_error"] >= 0


def test_json_names_the_loss_and_how_it_sampled(contraflow: Call) -> None:
    loss = ("penalty=linex", "alpha=0.5", "bound=3", "forward_kl=0.25", "distinct=true")
    result = contraflow("exact", "objective=vargrad", *loss, *SMALL, "--json")
    assert result.code == 0, result.err
    numbers = json.loads(result.out)
    assert (numbers["penalty"], numbers["alpha"], numbers["bound"]) == ("linex", 0.5, 3.0)
    assert numbers["forward_kl"] == 0.25 and numbers["distinct"] is True
    assert numbers["total_variation"] != numbers["total_variation_untrained"]


def test_the_table_says_where_no_z_is_modeled(contraflow: Call) -> None:
    result = contraflow("exact", "objective=vargrad", *SMALL)
    assert result.code == 0, result.err
    assert "total variation to R/Z" in result.out and "no Z is modeled" in result.out


def test_one_seed_is_one_experiment(contraflow: Call) -> None:
    """The same seed gives the same numbers, another seed other numbers."""
    numbers = [
        json.loads(contraflow("exact", *SMALL, f"seed={s}", "--json").out) for s in (1, 1, 2)
    ]
    distances = [t["total_variation"] for t in numbers]
    assert distances[0] == distances[1] != distances[2]


def test_what_it_refuses(contraflow: Call) -> None:
    assert_one_error(
        contraflow("exact", "objective=subtbb"), "objective=subtbb", "did you mean subtb?"
    )
    assert_one_error(
        contraflow("exact", "reward=lumpy"), "reward=lumpy: must be one of table, random"
    )
    assert_one_error(
        contraflow("exact", "architecture=bert"), "architecture=bert: must be one of llama, gpt2"
    )
    assert_one_error(contraflow("exact", "vocab=1"), "vocab=1: must be at least 2")
    assert_one_error(contraflow("exact", "vocab=13"), "vocab=13: must be at most 12")
    assert_one_error(
        contraflow("exact", "max_len=999999999"), "max_len=999999999: must be at most 12"
    )
    assert_one_error(contraflow("exact", "max_len=0"), "max_len=0: must be at least 1")
    assert_one_error(
        contraflow("exact", "vocab=10", "max_len=4"), "11110 questions are too many to enumerate"
    )
    assert_one_error(contraflow("exact", "lam=0"), "lam=0: must be a number above 0")
    assert_one_error(contraflow("exact", "penalty=cosh"), "penalty=cosh", "shifted_cosh")
    assert_one_error(contraflow("exact", "forward_kl=2"), "error: forward_kl=2.0: must be from")
    assert_one_error(contraflow("exact", "penalty=huber"), "error: bound=None: must be set with")
    assert_one_error(
        contraflow("exact", "objective=rloo", "penalty=linex"),
        "error: penalty=linex: must be square with objective=rloo, which has no residuals",
    )
    assert_one_error(contraflow("exact", "n_steps=none"), "n_steps=none: must be a whole number")
    assert_one_error(contraflow("exact", "json=yes"), "json=yes: must be one of true, false")
    assert_one_error(contraflow("exact", "--jsn"), "--jsn")
