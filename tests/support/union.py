"""One optimizer step on fixed questions, alone or as one of two ranks."""

from __future__ import annotations

from collections.abc import Sequence
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
from contraflow.run.build import Parts
from contraflow.settings import OptimizerConfig, TrainerConfig
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


class FixedExperience(Experience):
    """Always returns the questions of QUESTIONS."""

    def collect(self, facts: Sequence[Fact], step: int, seen: Sequence[Fact] = ()) -> Batch:  # noqa: ARG002
        sampled = [
            SampledQuestion(fact, ids, self.policy.question_text(ids))
            for fact in facts
            for ids in QUESTIONS[fact]
        ]
        return self._batch(facts, self.scorer.score(sampled, step), [1] * len(sampled), 1.0)


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
    module = SamplerModule(
        policy,
        experience,
        plain.reward,
        OBJECTIVES[name],
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
