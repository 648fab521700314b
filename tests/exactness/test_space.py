"""The reference: every question once, probabilities that sum to 1, and an arbitrary table."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from contraflow.exactness.check import ExactSettings, run_exact
from contraflow.exactness.space import (
    ARCHITECTURES,
    FACTS,
    REWARD_KINDS,
    Architecture,
    RewardKind,
    make_space,
)
from contraflow.gflownet.objectives import VarGrad
from contraflow.seeding import torch_rng


def space_of(architecture: Architecture = "llama", reward: RewardKind = "table", seed: int = 0):
    return make_space(architecture=architecture, n_tokens=3, max_len=3, reward=reward, seed=seed)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_probabilities_of_all_questions_sum_to_one(architecture: Architecture):
    """3 + 9 + 27 distinct questions; the environment can produce no other."""
    space = space_of(architecture)
    assert len(set(space.questions)) == len(space.questions) == 3 + 9 + 27
    for fact in FACTS:
        assert float(space.log_pf(fact)[0].exp().sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_questions_are_drawn_as_often_as_evaluate_says(architecture: Architecture):
    """4,000 samples of one fact: each of 39 frequencies within 4.5 standard deviations."""
    space, n = space_of(architecture), 4000
    sampled = space.policy.sample([FACTS[1]], n, torch_rng("frequencies"))
    rows = zip(sampled.ids.tolist(), sampled.lengths.tolist(), strict=True)
    counts = dict.fromkeys(space.questions, 0)
    for ids, length in rows:
        counts[tuple(ids[:length])] += 1
    for p, count in zip(space.log_pf(FACTS[1])[0].exp().tolist(), counts.values(), strict=True):
        assert abs(count - n * p) <= 4.5 * math.sqrt(n * p * (1 - p)) + 1


@pytest.mark.parametrize("reward", REWARD_KINDS)
def test_a_table_is_below_zero_and_follows_from_its_seed(reward: RewardKind):
    tables = [
        space_of(reward=reward, seed=seed).log_reward(fact) for seed in (0, 0, 1) for fact in FACTS
    ]
    assert all(bool((t < 0).all()) for t in tables)
    assert torch.equal(tables[0], tables[2]) and torch.equal(tables[1], tables[3])
    for a, b in itertools.combinations((tables[0], tables[1], tables[4], tables[5]), 2):
        assert not torch.equal(a, b)


def test_the_log_reward_is_that_of_the_table_alone():
    """The judge's row per question, through scorer and schedule, without prior and temperature."""
    space = space_of()
    texts = [space.policy.question_text(ids) for ids in space.questions]
    expected = space.scorer.judge.score([FACTS[0].edit_fact] * len(texts), texts).log_contradiction
    torch.testing.assert_close(space.log_reward(FACTS[0]).float(), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_frozen_head_leaves_room_for_a_peaky_table(architecture: Architecture):
    """The head reads vectors of length sqrt(64) = 8: two words' odds can reach exp(8 |r - s|).

    Here r and s are rows of the head. Peaky tables need up to 10 nats between two words. With
    shorter rows (the model's usual start) no adapter could express that, and total variation
    stopped at 0.1.
    """
    space = space_of(architecture)
    head = space.policy.lm.model.get_output_embeddings().weight.detach()
    rows = head[space.policy.constraints.action_ids]
    assert 8 * float(torch.cdist(rows, rows).triu(1).max()) > 8.0
    assert 8 * float(torch.pdist(rows).min()) > 5.0


def test_the_numbers_of_a_run_are_those_of_the_definitions():
    """One step, so that nothing is learned; every number again by plain loops."""
    settings = ExactSettings(vocab=2, max_len=2, n_steps=1, lr=1e-12, flow_lr=1e-12, log_z_lr=1e-12)
    result = run_exact(settings, VarGrad())
    space = make_space(architecture="llama", n_tokens=2, max_len=2, reward="table", seed=0)
    distances, gaps, xs, ys = [], [], [], []
    for fact in FACTS:
        p, r = space.log_pf(fact)[0].tolist(), space.log_reward(fact).tolist()
        z = sum(map(math.exp, r))
        distances.append(
            sum(abs(math.exp(a) - math.exp(b) / z) for a, b in zip(p, r, strict=True)) / 2
        )
        gaps.append(math.log(z) - sum(math.exp(a) * (b - a) for a, b in zip(p, r, strict=True)))
        xs += [b - sum(r) / 6 for b in r]
        ys += [a - sum(p) / 6 for a in p]
    assert result.n_questions == 6 and result.log_z_error is None
    assert result.total_variation == pytest.approx(max(distances), abs=1e-4)
    assert result.total_variation_untrained == pytest.approx(max(distances), abs=1e-6)
    assert result.log_z_bound_gap == pytest.approx(max(gaps), abs=1e-4)
    slope = sum(a * b for a, b in zip(xs, ys, strict=True)) / sum(a * a for a in xs)
    assert result.slope == pytest.approx(slope, abs=1e-4)
