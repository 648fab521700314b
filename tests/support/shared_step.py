"""One optimizer step on questions of actors, by one learner alone or by one of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from contraflow.actors.exchange import Exchange
from contraflow.actors.experience import LearnerExperience
from contraflow.actors.follower import FollowerExperience
from contraflow.actors.ledger import Ledger
from contraflow.actors.messages import Assignment, Collected
from contraflow.actors.pool import Outcome, Pool
from contraflow.distributed.ranks import Ranks
from contraflow.distributed.scorer import SharedScorer
from contraflow.experience.collect import Experience
from contraflow.experience.density import DrawnBatch
from contraflow.experience.scorer import SampledQuestion
from contraflow.experience.stream import FactStream
from contraflow.facts import Fact
from contraflow.gflownet.objectives import ContrastiveTB, Objective, SubTB, VarGrad
from contraflow.gflownet.policy_gradient import Grpo, Rloo
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.ramps import LinearSchedule
from contraflow.run.build import Parts
from contraflow.settings import ExchangeConfig, OptimizerConfig, TrainerConfig
from contraflow.training.loss import StepLoss
from contraflow.training.module import SamplerModule
from contraflow.training.publishing import Ratios
from contraflow.training.rank import Learner, trainer_for
from support.facts import FACTS
from support.models import fresh_lm
from support.runs import tiny_config
from support.tables import small_experience, small_policy
from support.union import OBJECTIVES, THIRD, FixedExperience, rising_weights

STORED = [(3,), (4,), (5,), (3, 5), (5, 3), (4, 3, 5)]


@dataclass(frozen=True)
class Case:
    """A loss, and what actors send for it: weights, densities, and a share of stored questions.

    Stored questions are six of a third fact, beside three and five new ones of two others. Without
    them the third fact has two new ones.
    """

    objective: Objective
    forward_kl: float = 0.0
    weighted: bool = False
    stored: bool = True

    @property
    def loss(self) -> StepLoss:
        share = self.forward_kl
        return StepLoss(self.objective, LinearSchedule(share, share, 1))


CASES = {name: Case(objective) for name, objective in OBJECTIVES.items()} | {
    "vargrad, weighted": Case(VarGrad(), weighted=True),
    "subtb, weighted": Case(SubTB(0.9), weighted=True),
    "ctb, weighted": Case(ContrastiveTB(), weighted=True),
    "forward KL": Case(VarGrad(), forward_kl=1.0),
    "forward KL, weighted": Case(VarGrad(), forward_kl=1.0, weighted=True),
    "half forward KL": Case(VarGrad(), forward_kl=0.5),
    "half forward KL, weighted": Case(VarGrad(), forward_kl=0.5, weighted=True),
    "rloo": Case(Rloo(), stored=False),
    "rloo, weighted": Case(Rloo(), weighted=True, stored=False),
    "grpo": Case(Grpo(), stored=False),
}


class NoPool(Pool):
    """No actors: the test itself has delivered their questions."""

    size = 1

    def publish(self, version: int, weights: bytes) -> None:
        """Nobody samples."""

    def is_ready(self, actor: int) -> bool:  # noqa: ARG002
        return False

    def submit(self, actor: int, assignment: Assignment) -> None:  # noqa: ARG002
        raise AssertionError("no actor is ready")

    def wait(self, timeout_s: float) -> list[Outcome]:  # noqa: ARG002
        return []

    def close(self) -> None:
        """Nothing runs."""


def delivered(case: Case, facts: Sequence[Fact], actor: Experience) -> DrawnBatch:
    """The questions of an actor, with weights that sum to 1 and arbitrary densities."""
    batch = actor.collect(facts, 0)
    log_q = tuple(-1.0 - 0.3 * i for i in range(len(batch.scored)))
    weights = rising_weights(batch) if case.weighted else None
    return DrawnBatch.of(replace(batch, weights=weights, weighs_loss=case.weighted), log_q)


def learner_experience(case: Case, policy: LoraPolicy, ranks: Ranks) -> LearnerExperience:
    """The experience of rank 0, for which questions of one step have come and are stored."""
    plain = small_experience(policy)
    common = (policy, plain.scorer, plain.replay, plain.reward, plain.settings)
    facts = [*FACTS, THIRD]
    settings = ExchangeConfig(newest_share=2 / 3 if case.stored else 1.0, timeout_s=5.0)
    ledger = Ledger(settings, facts_per_step=3)
    actor = FixedExperience(*common, seed=0)
    fresh = facts[:2] if case.stored else facts
    ledger.receive(Collected(ledger.assign(), delivered(case, fresh, actor)))
    if case.stored:
        sampled = [SampledQuestion(THIRD, ids, policy.question_text(ids)) for ids in STORED]
        plain.replay.add(plain.scorer.score(sampled, 0), [0.0] * len(sampled))
    scorer = SharedScorer(policy, plain.scorer.oracle, plain.scorer.judge, ranks)
    learner = LearnerExperience(
        policy,
        scorer,
        plain.replay,
        plain.reward,
        replace(plain.settings, n_samples=len(STORED)),
        seed=0,
        exchange=Exchange(ledger, NoPool(), settings),
        facts=facts,
        ranks=ranks,
    )
    learner.find_stored()
    return learner


def follower_experience(policy: LoraPolicy, ranks: Ranks) -> FollowerExperience:
    """The experience of another rank, which has neither oracle nor judge."""
    plain = small_experience(policy)
    scorer = SharedScorer(policy, None, None, ranks)
    return FollowerExperience(
        policy, scorer, plain.replay, plain.reward, plain.settings, seed=0, ranks=ranks
    )


@dataclass(frozen=True)
class Step:
    """What a learner did: all trained gradients in one vector, its facts, and its metrics."""

    gradient: torch.Tensor
    facts: list[str]
    metrics: dict[str, float]


def step_of(name: str, ranks: Ranks, folder: Path) -> Step:
    """Take a step of a case of CASES as one of the ranks."""
    case = CASES[name]
    policy = small_policy(fresh_lm())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in SamplerModule.trained_parts(policy).parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    experience: LearnerExperience | FollowerExperience
    if ranks.is_first:
        experience = learner_experience(case, policy, ranks)
    else:
        experience = follower_experience(policy, ranks)
    reward = experience.reward
    module = SamplerModule(
        policy, experience, reward, case.loss, OptimizerConfig(), n_steps=1, ranks=ranks
    )
    config = tiny_config(
        folder, optimizer=OptimizerConfig(grad_clip=1e9), trainer=TrainerConfig(n_steps=1)
    )
    parts = Parts(config, policy, None, None, reward)
    learner = Learner(config, parts, ranks, experience.replay, FACTS)
    trainer_for(learner, folder, [Ratios()], []).fit(module, FactStream(FACTS, 2, 1, seed=0))
    rows = [p.grad if p.grad is not None else torch.zeros_like(p) for p in module.lora.parameters()]
    assert module.outcome is not None
    facts = [fact.fact_id for fact in module.outcome.batch.facts]
    return Step(torch.cat([row.flatten() for row in rows]), facts, module.outcome.metrics)
