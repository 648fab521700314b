"""The questions that a step samples, with their weights in means over the distribution sampled.

That distribution is the mixture (1 − s) P_F + s P_Q: the policy, at the temperature of the step,
and for a share s of a fact's questions the prior (adapter off). The prior keeps every question
within reach that the policy no longer samples (defensive sampling; Hesterberg 1995).

The weights of a fact's questions sum to about 1, and Σ weight · h(question) estimates the mean of h
without bias. A plain draw weighs 1/n. Questions without replacement weigh p / inclusion
probability, where p is their probability (`policy/inclusion.py`). Products of the weights of two
different questions are unbiased as well where a part of the mixture has two or more without
replacement, so losses over pairs are. One question alone has no pair: of a part with the share s
the loss then lacks s² Var(u). Plain draws have only n − 1 of n pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from contraflow.experience.scorer import SampledQuestion
from contraflow.facts import Fact
from contraflow.policy.distinct import DistinctQuestions, sample_distinct
from contraflow.policy.lora import LoraPolicy
from contraflow.settings.learning import ExplorationConfig


@dataclass(frozen=True)
class Draw:
    """A question, its weight, and how often it was drawn."""

    question: SampledQuestion
    weight: float
    count: int = 1


def draw_weighted(
    policy: LoraPolicy,
    facts: Sequence[Fact],
    settings: ExplorationConfig,
    rng: torch.Generator,
    temperature: float,
) -> list[Draw]:
    """Draw the questions of a step; equal ones of a fact are one draw, with the sum of weights.

    Questions of one fact are adjacent, facts in their order.
    """
    n_own = settings.n_samples - settings.n_prior
    share = settings.n_prior / settings.n_samples
    is_normalized = settings.distinct_weights == "normalized"
    if settings.distinct:
        found = sample_distinct(policy, facts, n_own, rng, temperature=temperature)
        draws = _weighted(policy, facts, found, 1 - share, is_normalized)
    else:
        sampled = sample_questions(policy, facts, n_own, rng, temperature)
        draws = [Draw(question, (1 - share) / n_own) for question in sampled]
    if settings.n_prior:
        found = sample_distinct(policy, facts, settings.n_prior, rng, frozen=True)
        draws += _weighted(policy, facts, found, share, is_normalized)
    place = {fact.key: i for i, fact in enumerate(facts)}
    return sorted(_merged(draws), key=lambda draw: place[draw.question.fact.key])


def _weighted(
    policy: LoraPolicy,
    facts: Sequence[Fact],
    found: DistinctQuestions,
    share: float,
    is_normalized: bool,
) -> list[Draw]:
    """The questions with their inclusion weights times ``share``."""
    weight = (found.log_p - found.log_inclusion).exp()
    if is_normalized:
        total = weight.new_zeros(len(facts)).index_add(0, found.fact_index, weight)
        weight = weight / total[found.fact_index]
    rows = zip(
        found.fact_index.tolist(),
        policy.token_rows(found.questions),
        (share * weight).tolist(),
        strict=True,
    )
    return [
        Draw(SampledQuestion(facts[owner], ids, policy.question_text(ids)), weight_of_row)
        for owner, ids, weight_of_row in rows
    ]


def _merged(draws: Sequence[Draw]) -> list[Draw]:
    merged: dict[tuple[str, tuple[int, ...]], Draw] = {}
    for draw in draws:
        key = draw.question.key
        old = merged.get(key)
        if old is None:
            merged[key] = draw
        else:
            merged[key] = Draw(old.question, old.weight + draw.weight, old.count + draw.count)
    return list(merged.values())


def sample_questions(
    policy: LoraPolicy,
    facts: Sequence[Fact],
    n_samples: int,
    rng: torch.Generator,
    temperature: float = 1.0,
) -> list[SampledQuestion]:
    """Sample n questions per fact; questions of one fact are adjacent, facts in their order."""
    questions = policy.sample(facts, n_samples, rng, temperature)
    owners = [fact for fact in facts for _ in range(n_samples)]
    rows = policy.token_rows(questions)
    return [
        SampledQuestion(fact, ids, policy.question_text(ids))
        for fact, ids in zip(owners, rows, strict=True)
    ]
