"""One optimizer step on fixed questions, alone or as one of two ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import torch

from contraflow.distributed.ranks import Ranks
from contraflow.experience.collect import Batch, Experience
from contraflow.experience.scorer import SampledQuestion
from contraflow.experience.stream import FactStream
from contraflow.facts import Fact
from contraflow.gflownet.objectives import (
    ContrastiveTB,
    DetailedBalance,
    ModifiedSubTB,
    Objective,
    SubTB,
    TrajectoryBalance,
    VarGrad,
)
from contraflow.gflownet.penalties import Square
from contraflow.gflownet.policy_gradient import Grpo, Rloo
from contraflow.reward.ramps import LinearSchedule
from contraflow.run.build import Parts
from contraflow.settings import OptimizerConfig, TrainerConfig
from contraflow.training.loss import StepLoss
from contraflow.training.module import SamplerModule
from contraflow.training.rank import Learner, trainer_for
from support.facts import FACTS
from support.models import fresh_lm
from support.runs import tiny_config
from support.tables import small_experience, small_policy

OBJECTIVES: dict[str, Objective] = {
    "subtb": SubTB(0.9),
    "subtb without levels": SubTB(0.9, route_level=False),
    "subtb bounded": SubTB(1.0, penalty=Square(1.0)),
    "tb": TrajectoryBalance(),
    "db": DetailedBalance(Square(2.0)),
    "vargrad": VarGrad(),
    "modified_subtb": ModifiedSubTB(),
    "ctb": ContrastiveTB(),
}


@dataclass(frozen=True)
class Case:
    """A loss, and how the questions of a step count in it."""

    objective: Objective
    forward_kl: float = 0.0
    weighted: bool = False
    counted_once: bool = False

    @property
    def loss(self) -> StepLoss:
        share = LinearSchedule(self.forward_kl, self.forward_kl, 1)
        return StepLoss(self.objective, share, n_samples=4)


CASES = {name: Case(objective) for name, objective in OBJECTIVES.items()} | {
    "rloo": Case(Rloo()),
    "grpo, weighted": Case(Grpo(), weighted=True),
    "vargrad, weighted": Case(VarGrad(), weighted=True),
    "subtb, weighted": Case(SubTB(0.9), weighted=True),
    "ctb, weighted": Case(ContrastiveTB(), weighted=True),
    "vargrad, counted once": Case(VarGrad(), counted_once=True),
    "forward KL": Case(VarGrad(), forward_kl=1.0),
    "forward KL, counted once": Case(VarGrad(), forward_kl=1.0, counted_once=True),
    "half forward KL": Case(SubTB(0.9), forward_kl=0.5),
    "half forward KL, weighted": Case(VarGrad(), forward_kl=0.5, weighted=True),
    "half forward KL of pairs, counted once": Case(ContrastiveTB(), 0.5, counted_once=True),
}
THIRD = msgspec.structs.replace(FACTS[0], fact_id="c", subject="city", edit_fact="the city is rome")
# 3 of one fact on rank 0; 5 + 2 of two facts on rank 1, one of them twice.
QUESTIONS = {
    FACTS[0]: [(3,), (3, 4), (4, 5, 3)],
    FACTS[1]: [(4,), (5, 5), (3, 3, 3), (3, 4, 5), (3, 4, 5)],
    THIRD: [(5, 4), (4, 4)],
}
SHARDS: list[list[Fact]] = [[FACTS[0]], [FACTS[1], THIRD]]
# Far below every norm, so that clipping shards before the sum would show; and no clipping.
CLIPS = (1e-3, 1e9)


def clips_of(name: str) -> tuple[float, ...]:
    """Clipping is the same for every loss: one kind of them shows it."""
    return CLIPS if name in OBJECTIVES else CLIPS[1:]


class FixedExperience(Experience):
    """Always returns the questions of QUESTIONS, which count as ``case`` has it."""

    case = Case(VarGrad())

    def collect(self, facts: Sequence[Fact], step: int, seen: Sequence[Fact] = ()) -> Batch:  # noqa: ARG002
        drawn = [(fact, ids) for fact in facts for ids in QUESTIONS[fact]]
        counts = [1] * len(drawn)
        if self.case.counted_once:
            n_times = Counter(drawn)
            drawn, counts = list(n_times), list(n_times.values())
        sampled = [
            SampledQuestion(fact, ids, self.policy.question_text(ids)) for fact, ids in drawn
        ]
        batch = self._batch(facts, self.scorer.score(sampled, step), counts, 1.0)
        if not self.case.weighted:
            return batch
        return replace(batch, weights=rising_weights(batch), weighs_loss=True)


def rising_weights(batch: Batch) -> tuple[float, ...]:
    """1, 2, 3, … for the questions of each fact, which are adjacent, over their sum."""
    weights: list[float] = []
    for n in Counter(batch.owners).values():
        weights += [2 * (i + 1) / (n * (n + 1)) for i in range(n)]
    return tuple(weights)


def gradients_after_a_step(
    name: str, facts: Sequence[Fact], ranks: Ranks, folder: Path, clip: float
) -> torch.Tensor:
    """Return all trained gradients of the step, clipped, in one vector."""
    policy = small_policy(fresh_lm())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in SamplerModule.trained_parts(policy).parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    plain = small_experience(policy)
    experience = FixedExperience(
        policy, plain.scorer, plain.replay, plain.reward, plain.settings, seed=0, rank=ranks.rank
    )
    experience.case = CASES[name]
    module = SamplerModule(
        policy,
        experience,
        plain.reward,
        CASES[name].loss,
        OptimizerConfig(),
        n_steps=1,
        ranks=ranks,
    )
    config = tiny_config(
        folder, optimizer=OptimizerConfig(grad_clip=clip), trainer=TrainerConfig(n_steps=1)
    )
    parts = Parts(config, policy, None, None, plain.reward)
    learner = Learner(config, parts, ranks, plain.replay, facts)
    trainer_for(learner, folder, [], []).fit(
        module, FactStream(facts, len(facts), n_steps=1, seed=0)
    )
    rows = [p.grad if p.grad is not None else torch.zeros_like(p) for p in module.lora.parameters()]
    return torch.cat([row.flatten() for row in rows])
