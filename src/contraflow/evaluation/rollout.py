"""Sampling and scoring of questions about given facts.

Used by evaluation, validation and `contraflow generate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from contraflow.evaluation.records import QuestionRecord
from contraflow.experience.collect import sample_questions
from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy, fact_index_of, stack_questions
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.seeding import torch_rng
from contraflow.types import ScoredQuestion

QUESTIONS_PER_BATCH = 64


def record_of(
    fact: Fact, scored: ScoredQuestion, log_reward: float, log_pf: float
) -> QuestionRecord:
    """Combine a scored question with its fact, log R and log P_F."""
    return QuestionRecord(
        fact_id=fact.fact_id,
        subject=fact.subject,
        relation=fact.relation,
        edit_fact=fact.edit_fact,
        original_answer=fact.original_answer,
        aliases=fact.aliases,
        edited_answer=fact.edited_answer,
        question=scored.question,
        answer=scored.answer,
        log_contradiction=scored.log_contradiction,
        log_p_question=scored.log_p_question,
        log_p_answer=scored.log_p_answer,
        log_entailment=scored.log_entailment,
        log_reward=log_reward,
        log_pf=log_pf,
    )


def rollout(
    policy: LoraPolicy,
    scorer: Scorer,
    reward: RewardSchedule,
    facts: Sequence[Fact],
    *,
    n_samples: int,
    step: int,
    seed: int,
    temperature: float = 1.0,
    on_fact: Callable[[int], None] | None = None,
) -> Iterator[QuestionRecord]:
    """Yield ``n_samples`` scored questions per fact; log R follows the schedule at ``step``.

    log P_F is that of the sampler that wrote the questions: of the tempered one at a temperature
    other than 1.

    The random numbers of a fact depend on the seed and its batch only, so that two policies can be
    compared on the same facts. ``on_fact`` receives the number of facts of each finished batch.
    """
    facts_per_batch = max(1, QUESTIONS_PER_BATCH // n_samples)
    for start in range(0, len(facts), facts_per_batch):
        batch = facts[start : start + facts_per_batch]
        rng = torch_rng(seed, "rollout", batch[0].fact_id, len(batch), device=policy.lm.device)
        sampled = sample_questions(policy, batch, n_samples, rng, temperature)
        yield from _records(policy, scorer, reward, batch, sampled, step, temperature)
        if on_fact is not None:
            on_fact(len(batch))


@torch.no_grad()
def _records(
    policy: LoraPolicy,
    scorer: Scorer,
    reward: RewardSchedule,
    facts: Sequence[Fact],
    sampled: Sequence[SampledQuestion],
    step: int,
    temperature: float,
) -> Iterator[QuestionRecord]:
    scored = scorer.score(sampled, step)
    log_rewards = reward(RewardParts.of(scored), step).log_reward.tolist()
    if policy.has_adapter or temperature != 1.0:
        log_pfs = _log_pf(policy, facts, sampled, temperature)
    else:  # the sampler is the base model
        log_pfs = [s.log_p_question for s in scored]
    rows = zip(sampled, scored, log_rewards, log_pfs, strict=True)
    for question, scores, log_reward, log_pf in rows:
        yield record_of(question.fact, scores, log_reward, log_pf)


def _log_pf(
    policy: LoraPolicy,
    facts: Sequence[Fact],
    sampled: Sequence[SampledQuestion],
    temperature: float,
) -> list[float]:
    device = policy.lm.device
    index = fact_index_of(facts, [question.fact.fact_id for question in sampled], device)
    questions = stack_questions([question.ids for question in sampled], device)
    paths = policy.evaluate(facts, index, questions, temperature)
    return [float(value) for value in paths.log_p_question]
