"""Sampling and scoring of questions about given facts.

Used by evaluation, validation and `contraflow generate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from contraflow.evaluation.record_book import Batches, NothingKept
from contraflow.evaluation.records import QuestionRecord
from contraflow.experience.collect import sample_questions
from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import Fact
from contraflow.policy.distinct import sample_distinct
from contraflow.policy.lora import LoraPolicy, fact_index_of, stack_questions
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.seeding import torch_rng
from contraflow.text.tokens import normalize
from contraflow.types import ScoredQuestion

QUESTIONS_PER_BATCH = 64


def record_of(
    fact: Fact,
    scored: ScoredQuestion,
    log_reward: float,
    log_pf: float,
    log_inclusion: float | None = None,
) -> QuestionRecord:
    """Combine a scored question with its fact, log R, log P_F and the log-probability of a draw."""
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
        log_inclusion=log_inclusion,
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
    distinct: bool = False,
    same: Callable[[str], str] | None = normalize,
    frozen: bool = False,
    on_fact: Callable[[int], None] | None = None,
    batches: Batches | None = None,
) -> Iterator[QuestionRecord]:
    """Yield ``n_samples`` scored questions per fact; log R follows the schedule at ``step``.

    log P_F is that of the sampler that wrote the questions: of the tempered one at a temperature
    other than 1.

    The random numbers of a fact depend on the seed and its batch only, so that two policies can be
    compared on the same facts. ``on_fact`` receives the number of facts of each finished batch.

    With ``distinct``, no two questions of a fact are equal after ``same`` (by default ignoring
    case, punctuation and a leading article), and each has its ``log_inclusion``, which stands for
    all drawn spellings of it (`policy/distinct.py`); ``same=None`` tells token sequences apart. The
    random numbers then depend on the seed and the position of the fact: with a larger
    ``n_samples``, the same questions come first and others follow. With ``frozen`` as well, they
    are the prior's: drawn with the adapter off, and log P_F is log P_Q.

    ``batches`` may have kept some of them (`RecordBook`); questions of another ``same`` than the
    two above are always drawn.
    """
    is_known = same in (None, normalize)
    kept = batches if batches is not None and is_known else NothingKept()
    settings = (int(n_samples), step, int(seed), float(temperature), distinct, same is None, frozen)
    of_run = torch_rng(seed, "rollout", "distinct", device=policy.lm.device)
    facts_per_batch = max(1, QUESTIONS_PER_BATCH // n_samples)

    def score(batch: Sequence[Fact], rng: torch.Generator) -> Iterator[QuestionRecord]:
        if distinct:
            drawn = _draw_distinct(policy, batch, n_samples, rng, temperature, same, frozen=frozen)
        else:
            drawn = _Drawn(sample_questions(policy, batch, n_samples, rng, temperature))
        return _records(policy, scorer, reward, batch, drawn, step, temperature)

    for start in range(0, len(facts), facts_per_batch):
        batch = facts[start : start + facts_per_batch]
        rng = of_run
        if not distinct:
            rng = torch_rng(seed, "rollout", batch[0].fact_id, len(batch), device=policy.lm.device)
        yield from kept.batch(batch, settings, rng, partial(score, batch, rng))
        if on_fact is not None:
            on_fact(len(batch))


@dataclass(frozen=True)
class _Drawn:
    """Questions, with what the draw says about each; the lists are None with replacement."""

    sampled: list[SampledQuestion]
    log_pf: list[float] | None = None
    log_inclusion: list[float] | None = None


def _draw_distinct(
    policy: LoraPolicy,
    facts: Sequence[Fact],
    n_samples: int,
    rng: torch.Generator,
    temperature: float,
    same: Callable[[str], str] | None,
    *,
    frozen: bool,
) -> _Drawn:
    drawn = sample_distinct(
        policy, facts, n_samples, rng, temperature=temperature, same=same, frozen=frozen
    )
    rows = zip(drawn.fact_index.tolist(), policy.token_rows(drawn.questions), strict=True)
    sampled = [SampledQuestion(facts[i], ids, policy.question_text(ids)) for i, ids in rows]
    return _Drawn(sampled, drawn.log_p.tolist(), drawn.log_inclusion.tolist())


@torch.no_grad()
def _records(
    policy: LoraPolicy,
    scorer: Scorer,
    reward: RewardSchedule,
    facts: Sequence[Fact],
    drawn: _Drawn,
    step: int,
    temperature: float,
) -> Iterator[QuestionRecord]:
    scored = scorer.score(drawn.sampled, step)
    log_rewards = reward(RewardParts.of(scored), step).log_reward.tolist()
    if drawn.log_pf is not None:
        log_pfs = drawn.log_pf
    elif policy.has_adapter or temperature != 1.0:
        log_pfs = _log_pf(policy, facts, drawn.sampled, temperature)
    else:  # the sampler is the base model
        log_pfs = [s.log_p_question for s in scored]
    inclusions: Sequence[float | None] = drawn.log_inclusion or [None] * len(scored)
    rows = zip(drawn.sampled, scored, log_rewards, log_pfs, inclusions, strict=True)
    for question, scores, log_reward, log_pf, log_inclusion in rows:
        yield record_of(question.fact, scores, log_reward, log_pf, log_inclusion)


def _log_pf(
    policy: LoraPolicy,
    facts: Sequence[Fact],
    sampled: Sequence[SampledQuestion],
    temperature: float,
) -> list[float]:
    device = policy.lm.device
    index = fact_index_of(facts, [question.fact.key for question in sampled], device)
    questions = stack_questions([question.ids for question in sampled], device)
    paths = policy.evaluate(facts, index, questions, temperature)
    return [float(value) for value in paths.log_p_question]
