"""Settings that are allowed together, and that hardly anybody means: one line each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contraflow import compose_config
from contraflow.settings.unlikely import unlikely
from support.cli import Result


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["reward=static", "trainer.n_steps=20", "optimizer.warmup_steps=20"],
            "the learning rate never reaches optimizer.lr",
        ),
        (
            ["reward=hybrid", "reward.penalized_reward_end_step=60", "trainer.n_steps=60"],
            "no step is trained with the composite reward",
        ),
        (["exploration.use_buffer_prob=1"], "only as long as nothing is stored"),
        (["replay.capacity_per_fact=1"], "no step is replayed"),
        (["optimizer.lr=1e4"], "optimizer.lr=10000 is far above"),
        (
            ["objective=vargrad", "exploration.n_samples=4", "exploration.prior_share=0.25"],
            "one of the two parts has a single question",
        ),
    ],
)
def test_what_hardly_anybody_means_is_said(words: list[str], said: str) -> None:
    (line,) = unlikely(words, compose_config(words))
    assert said in line


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=debug_fast"],  # two steps with a warm-up of five: nobody typed either
        ["reward=static", "trainer.n_steps=20", "optimizer.warmup_steps=19"],
        ["reward=hybrid", "reward.penalized_reward_end_step=59", "trainer.n_steps=60"],
        ["reward=static", "reward.penalized_reward_end_step=60", "trainer.n_steps=60"],
        ["exploration.use_buffer_prob=0.9"],
        ["replay.capacity_per_fact=1", "exploration.use_buffer_prob=0"],
        ["objective=vargrad", "exploration.n_samples=4", "exploration.prior_share=0.5"],
        ["objective=tb", "exploration.n_samples=4", "exploration.prior_share=0.25"],
    ],
)
def test_presets_and_usual_settings_are_quiet(words: list[str]) -> None:
    assert list(unlikely(words, compose_config(words))) == []


def test_config_says_so_before_anything_is_trained(contraflow: Callable[..., Result]) -> None:
    result = contraflow("config", "exploration.use_buffer_prob=1")
    assert result.code == 0
    assert result.err.startswith("warning: exploration.use_buffer_prob=1: new questions")
