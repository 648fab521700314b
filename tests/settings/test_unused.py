"""A key that the other choices leave without effect is refused, or named in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from contraflow.errors import UserError
from contraflow.settings.compose import compose_config
from contraflow.settings.unused import unused_keys
from support.cli import Result, assert_one_error

Call = Callable[..., Result]
URL = "replay.url=redis://h/0"


@pytest.mark.parametrize("store", ["memory", "embedded"])
def test_a_replay_url_without_redis_is_refused(contraflow: Call, store: str) -> None:
    """The user would believe that the server is used."""
    result = contraflow("config", f"replay={store}", URL)
    assert_one_error(
        result, f"replay.url=redis://h/0: replay.store={store} does not use it", "add replay=redis"
    )


def test_the_password_of_a_refused_url_is_not_shown(contraflow: Call) -> None:
    result = contraflow("config", "replay.url=redis://:secret@h/0")
    assert_one_error(result, "replay.url=redis://")
    assert "secret" not in result.err


def test_a_replay_url_in_a_file_of_your_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nreplay:\n  url: redis://h/0\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match="does not use it"):
        compose_config(["experiment=mine"], tmp_path)


def test_redis_takes_its_url() -> None:
    assert compose_config(["replay=redis", URL]).replay.url == "redis://h/0"


UNUSED = {
    "objective.lam": (["objective=vargrad", "objective.lam=0.5"], "subtb"),
    "objective.alpha": (["objective.alpha=0.5"], "objective.penalty=linex"),
    "objective.penalty": (
        ["objective.penalty=linex", "objective.forward_kl=1"],
        "objective.forward_kl=1",
    ),
    "objective.lam of a share of 0": (
        ["objective.lam=0.5", "objective.forward_kl=1"],
        "share then",
    ),
    "optimizer.log_z_lr": (["optimizer.log_z_lr=1", "objective.forward_kl=1"], "share then"),
    "exploration.distinct_weights of the forward KL": (
        [
            "objective.forward_kl=1",
            "exploration.distinct=true",
            "exploration.distinct_weights=equal",
        ],
        "inclusion weights",
    ),
    "exploration.count_repeats": (
        ["exploration.distinct=true", "exploration.count_repeats=false"],
        "exploration.distinct=true",
    ),
    "exploration.use_buffer_prob": (
        ["exchange=actors", "replay=embedded", "exploration.use_buffer_prob=0.5"],
        "exchange.newest_share",
    ),
    "replay.near_duplicate_by": (
        ["replay.near_duplicate=0", "replay.near_duplicate_by=embedding"],
        "replay.near_duplicate=0",
    ),
    "objective.beta": (["objective=rloo", "objective.beta=0.1"], "objective=grpo"),
    "objective.forward_looking": (["objective=ctb", "objective.forward_looking=false"], "subtb"),
    "exchange.actors": (["exchange.actors=2"], "exchange=actors"),
    "exchange.newest_share": (["exchange=local", "exchange.newest_share=1"], "exchange=actors"),
    "exploration.correct_replay": (
        ["objective=rloo", "exploration.correct_replay=true"],
        "objective=subtb, tb",
    ),
    "exploration.distinct_weights": (
        ["exploration.distinct_weights=equal"],
        "exploration.distinct=true",
    ),
    "replay.sampling_temp": (["replay.sampling_temp=2"], "replay.sampling=reward"),
    "objective.forward_kl_power": (["objective.forward_kl_power=0.5"], "objective.forward_kl"),
    "objective.forward_kl_horizon": (
        ["objective.forward_kl=0.3", "objective.forward_kl_horizon=50"],
        "forward_kl_end",
    ),
    "reward.penalized_reward_end_step": (
        ["reward=penalized", "reward.penalized_reward_end_step=9"],
        "reward=hybrid",
    ),
    "reward.failure_penalty": (["reward=static", "reward.failure_penalty=-3"], "reward=hybrid"),
    "reward.reward_temp_start": (["reward.reward_temp_start=4"], "reward.reward_temp_end"),
    "exploration.pf_temp_high": (
        ["exploration.pf_temp_prob=0", "exploration.pf_temp_high=3"],
        "pf_temp_prob=0",
    ),
    "evaluation.proportion_of": (["evaluation=none", "evaluation.proportion_of=32"], "evaluation"),
}


@pytest.mark.parametrize(("key", "words", "by"), [(k, *v) for k, v in UNUSED.items()], ids=UNUSED)
def test_a_key_without_effect_is_named(key: str, words: list[str], by: str) -> None:
    key = key.partition(" ")[0]
    found = unused_keys(words, compose_config(words))
    assert list(found) == [key]
    line = found[key]
    assert line.startswith(f"{key} has no effect") and by in line and "\n" not in line


@pytest.mark.parametrize(
    "words",
    [
        ["objective=modified_subtb", "objective.lam=0.5"],
        ["objective.penalty=linex", "objective.alpha=0.5"],
        ["objective=grpo", "objective.beta=0.1"],
        ["exchange=actors", "replay=embedded", "exchange.actors=2"],
        ["objective=rloo", "exploration.correct_replay=false"],
        ["exploration.distinct=true", "exploration.distinct_weights=equal"],
        ["objective.forward_kl_end=0.5", "objective.forward_kl_power=0.5"],
        ["objective.forward_kl=1", "objective.forward_kl_end=0", "objective.penalty=linex"],
        ["experiment=quickstart"],
        ["experiment=overnight"],
        ["experiment=gpt2_large_zsre", "data.facts=x"],
        ["experiment=debug_fast", "objective=vargrad"],
    ],
    ids=" ".join,
)
def test_keys_with_effect_and_presets_are_quiet(words: list[str]) -> None:
    assert unused_keys(words, compose_config(words)) == {}


def test_config_warns_on_standard_error_and_prints(contraflow: Call) -> None:
    result = contraflow("config", "objective=vargrad", "objective.lam=0.5")
    assert result.code == 0 and yaml.safe_load(result.out)["objective"]["lam"] == 0.5
    assert result.err.splitlines() == [
        "warning: objective.lam has no effect with objective.name=vargrad; "
        "objective=subtb, modified_subtb use it"
    ]


@pytest.mark.parametrize(
    ("word", "by"), [("lam=0.3", "subtb, modified_subtb"), ("alpha=0.5", "penalty=linex")]
)
def test_exact_warns_of_an_argument_without_effect(contraflow: Call, word: str, by: str) -> None:
    small = ("vocab=2", "max_len=2", "n_steps=1")
    result = contraflow("exact", "objective=vargrad", word, *small, "--json")
    assert result.code == 0
    key = word.partition("=")[0]
    warning = next(line for line in result.err.splitlines() if line.startswith("warning: "))
    assert warning.startswith(f"warning: {key} has no effect") and by in warning
