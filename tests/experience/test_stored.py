"""`exploration.n_stored`: stored questions of a fact join its new ones in a step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from contraflow.experience.collect import Batch
from contraflow.gflownet.objectives import VarGrad
from contraflow.policy.lora import LoraPolicy
from contraflow.settings.learning import ExplorationConfig
from contraflow.training.step_metrics import StepNumbers, step_metrics
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import small_experience, small_policy

NEW_ONLY = ExplorationConfig(n_samples=4, use_buffer_prob=0, pf_temp_prob=0)


@pytest.fixture
def policy() -> LoraPolicy:
    return small_policy(fresh_lm())


def third_step(policy: LoraPolicy, settings: ExplorationConfig) -> tuple[Batch, Counter[str]]:
    """The batch of step 2, and how many questions of each fact were stored before it."""
    experience = small_experience(policy, settings=settings)
    for step in range(2):
        experience.collect(FACTS, step)
    stored = Counter(entry.scored.fact_key for entry in experience.replay.entries())
    return experience.collect(FACTS, 2), stored


def test_up_to_n_stored_questions_join_those_of_their_fact(policy: LoraPolicy):
    batch, stored = third_step(policy, replace(NEW_ONLY, n_stored=3))
    old = Counter(s.fact_key for s in batch.scored if s.step < 2)
    assert all(0 < old[f.key] <= min(3, stored[f.key]) for f in FACTS)
    assert batch.n_replayed == old.total()
    assert [batch.facts[i].key for i in batch.owners] == [s.fact_key for s in batch.scored]


def test_new_draws_are_those_of_a_step_without_stored_ones(policy: LoraPolicy):
    alone, _ = third_step(policy, NEW_ONLY)
    beside, _ = third_step(policy, replace(NEW_ONLY, n_stored=3))
    n = len(alone.scored)
    assert beside.scored[:n] == alone.scored
    assert beside.counts == (*alone.counts, *[0] * beside.n_replayed)


def test_a_question_drawn_anew_does_not_join_twice(policy: LoraPolicy):
    batch, _ = third_step(policy, replace(NEW_ONLY, n_stored=32, distinct=True))
    keys = [(s.fact_key, s.question_ids) for s in batch.scored]
    assert len(keys) == len(set(keys))


def test_the_first_step_has_new_ones_only(policy: LoraPolicy):
    experience = small_experience(policy, settings=replace(NEW_ONLY, n_stored=3))
    assert experience.collect(FACTS, 0).n_replayed == 0


def test_weights_are_those_of_the_mixture(policy: LoraPolicy):
    """Normalized weights of new ones sum to 1; k stored ones beside n make that n / (n + k)."""
    settings = replace(NEW_ONLY, n_stored=3, distinct=True, distinct_weights="normalized")
    batch, _ = third_step(policy, settings)
    weight = batch.loss_weight
    assert weight is not None
    for i in range(len(FACTS)):
        of_fact = batch.fact_index == i
        is_old = torch.tensor([s.step < 2 for s in batch.scored]) & of_fact
        share = int(is_old.sum()) / int(of_fact.sum())
        assert float(weight[of_fact].sum()) == pytest.approx(1.0, abs=1e-5)
        assert float(weight[is_old].sum()) == pytest.approx(share, abs=1e-5)


def test_the_loss_compares_old_with_new(policy: LoraPolicy):
    batch, _ = third_step(policy, replace(NEW_ONLY, n_stored=3))
    assert batch.loss_weight is None
    assert VarGrad().terms(batch.fact_index) == len(batch.scored)


def test_metrics_are_means_over_new_draws(policy: LoraPolicy):
    batch, _ = third_step(policy, replace(NEW_ONLY, n_stored=3))
    n_new = len(batch.scored) - batch.n_replayed
    is_old = torch.tensor([float(s.step < 2) for s in batch.scored]).numpy()
    numbers = StepNumbers(0.0, 100 * is_old, -is_old, 101 * is_old, 0 * is_old)
    metrics = step_metrics(batch, numbers, 2, torch.Generator(), uses_flow=False)
    assert metrics["log_reward"] == 0
    assert metrics["distinct"] <= 1
    assert metrics["replay_share"] == batch.n_replayed / (n_new + batch.n_replayed)
    assert metrics["staleness"] > 0


def test_plain_draws_beside_prior_ones_count_as_often_as_they_were_drawn():
    """Equal draws are one row: the share of stored questions grew as a sampler narrowed."""
    narrow = small_policy(fresh_lm(), n_tokens=3, max_len=2)
    settings = replace(NEW_ONLY, n_samples=8, prior_share=0.25, n_stored=2)
    batch, _ = third_step(narrow, settings)
    weight = batch.weights
    assert weight is not None and batch.n_replayed > 0
    assert max(batch.counts) > 1, "no question was drawn twice"
    is_old = [s.step < 2 for s in batch.scored]
    for i in range(len(batch.facts)):
        rows = [row for row, owner in enumerate(batch.owners) if owner == i and is_old[row]]
        share = len(rows) / (8 + len(rows))
        assert sum(weight[row] for row in rows) == pytest.approx(share)
