"""Questions of a policy on given facts, scored and recorded: what evaluation, validation and
`generate` share.
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

FACTS_PER_BATCH = 8


def record_of(
    fact: Fact, scored: ScoredQuestion, log_reward: float, log_pf: float
) -> QuestionRecord:
    """A question with its fact and every number it was given."""
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
    """n questions per fact with every part; log R as the schedule has it at ``step``.

    A fact's draws depend on (seed, its batch) only, so two policies can be compared on the same
    facts.
    """
    size = max(1, FACTS_PER_BATCH * 8 // n_samples)
    for start in range(0, len(facts), size):
        some = facts[start : start + size]
        rng = torch_rng(seed, "rollout", some[0].fact_id, len(some), device=policy.lm.device)
        drawn = sample_questions(policy, some, n_samples, rng, temperature)
        yield from _records(policy, scorer, reward, some, drawn, step)
        if on_fact is not None:
            on_fact(len(some))


@torch.no_grad()
def _records(
    policy: LoraPolicy,
    scorer: Scorer,
    reward: RewardSchedule,
    facts: Sequence[Fact],
    drawn: Sequence[SampledQuestion],
    step: int,
) -> Iterator[QuestionRecord]:
    scored = scorer.score(drawn, step)
    log_rewards = reward(RewardParts.of(scored), step).log_reward.tolist()
    log_pfs = (
        _log_pf(policy, facts, drawn) if policy.is_trained else [s.log_p_question for s in scored]
    )
    for d, s, log_reward, log_pf in zip(drawn, scored, log_rewards, log_pfs, strict=True):
        yield record_of(d.fact, s, log_reward, log_pf)


def _log_pf(
    policy: LoraPolicy, facts: Sequence[Fact], drawn: Sequence[SampledQuestion]
) -> list[float]:
    device = policy.lm.device
    index = fact_index_of(facts, [q.fact.fact_id for q in drawn], device)
    paths = policy.evaluate(facts, index, stack_questions([d.ids for d in drawn], device))
    return [float(value) for value in paths.log_p_question]
