"""Draws from replay that prefer what pays best, with weights that do not."""

from __future__ import annotations

import math
import random

import msgspec
import pytest

from contraflow.experience.replayed import draw_stored
from contraflow.models.causal_lm import CausalLM
from contraflow.settings.learning import ExplorationConfig
from contraflow.settings.running import ReplayConfig
from support.facts import FACTS
from support.replay import question
from support.tables import small_experience, small_policy

STORED = [question("a", (3 + i,)) for i in range(6)]
PRIORITIES = [-1.0, -4.0, 0.5, -2.0, -2.5, -9.0]
VALUES = {s.question_ids: x for s, x in zip(STORED, (2.0, -1.0, 5.0, 0.0, 3.0, 7.0), strict=True)}
N_SEEDS = 3000


def settings_of(sampling: str) -> ReplayConfig:
    return ReplayConfig(sampling=sampling, sampling_temp=2.0)


@pytest.mark.parametrize("sampling", ["uniform", "rank", "reward"])
def test_the_weighted_mean_is_that_of_all_stored(sampling: str):
    """3 of 6 over many seeds: the mean of Σ weight · h is (2 − 1 + 5 + 0 + 3 + 7) / 6 = 8/3."""
    totals = []
    for seed in range(N_SEEDS):
        draws = draw_stored(STORED, PRIORITIES, 3, random.Random(seed), settings_of(sampling))
        assert len({d.scored.question_ids for d in draws}) == 3
        totals.append(sum(d.weight * VALUES[d.scored.question_ids] for d in draws))
    mean = sum(totals) / N_SEEDS
    spread = math.sqrt(sum((x - mean) ** 2 for x in totals) / N_SEEDS)
    assert abs(mean - 16 / 6) <= 4.5 * spread / math.sqrt(N_SEEDS)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("uniform", 1 / 6),
        ("rank", math.sqrt(1 / 6)),
        # exp(priority / 2) of the best over the sum.
        ("reward", math.exp(0.25) / sum(math.exp(x / 2) for x in PRIORITIES)),
    ],
)
def test_one_draw_prefers_the_best_as_replay_does(sampling: str, expected: float):
    best = STORED[2].question_ids
    hits = sum(
        draw_stored(STORED, PRIORITIES, 1, random.Random(seed), settings_of(sampling))[
            0
        ].scored.question_ids
        == best
        for seed in range(N_SEEDS)
    )
    error = math.sqrt(expected * (1 - expected) / N_SEEDS)
    assert abs(hits / N_SEEDS - expected) <= 4.5 * error


def test_all_stored_questions_weigh_the_same():
    draws = draw_stored(STORED, PRIORITIES, 9, random.Random(0), settings_of("reward"))
    assert [d.weight for d in draws] == pytest.approx([1 / 6] * 6)


def test_a_replayed_batch_carries_the_weights(tiny_lm: CausalLM):
    """Five stored, three drawn: the loss uses the weights, and no question weighs less than 1/5."""
    settings = ExplorationConfig(n_samples=3, use_buffer_prob=1.0, correct_replay=True)
    experience = small_experience(small_policy(tiny_lm, n_tokens=5), settings=settings)
    stored = [
        msgspec.structs.replace(question("a", (3 + i,)), fact_hash=FACTS[0].content_hash)
        for i in range(5)
    ]
    experience.replay.add(stored, [-float(i) for i in range(5)])
    batch = experience.collect(FACTS[:1], 0)
    assert batch.n_replayed == len(batch.scored) == 3
    assert batch.weights is not None and batch.loss_weight is not None
    assert batch.loss_weight.tolist() == pytest.approx(list(batch.weights))
    assert min(batch.weights) >= 1 / 5
