"""The gradients of two ranks with unequal shares, added up by terms, are those of their union.

Three facts with 8, 3 and 2 questions: the first is one rank's, the others are the second's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from contraflow.experience.collect import Batch
from contraflow.experience.density import DrawnBatch
from contraflow.facts import Fact
from contraflow.gflownet.objectives import ContrastiveTB, VarGrad, potentials, prefix_potentials
from contraflow.gflownet.policy_gradient import Grpo, Rloo
from contraflow.reward.ramps import LinearSchedule
from contraflow.training.loss import StepLoss, token_terms
from contraflow.training.terms import Terms
from contraflow.types import PathLogProbs, PrefixReward, TerminalReward
from support.actors import question
from support.union import OBJECTIVES

SIZES = (8, 3, 2)
LENGTH = 2
N_FIRST = SIZES[0]
OWNERS = [i for i, n in enumerate(SIZES) for _ in range(n)]
B = len(OWNERS)
FACTS = tuple(Fact(fact_id=str(i), subject="s", edit_fact="s is e") for i in range(3))
SCORED = tuple(question(FACTS[i], (row, 3)) for row, i in enumerate(OWNERS))
LOSSES = OBJECTIVES | {"rloo": Rloo(), "grpo": Grpo(0.3)}

PLAIN = Batch(FACTS, SCORED, (1,) * B, 1.0, 0, "cpu")
COUNTS = tuple(1 + row % 3 for row in range(B))
WEIGHTS = tuple(0.7 * (1 + row % 4) / SIZES[i] for row, i in enumerate(OWNERS))
LOG_Q = tuple(-1.0 - 0.2 * (row % 5) for row in range(B))
WEIGHTED = replace(PLAIN, weights=WEIGHTS, weighs_loss=True)
BATCHES = {
    "plain": PLAIN,
    "counted once": replace(PLAIN, counts=COUNTS),
    "weighted": WEIGHTED,
    "weighted, counted once": replace(WEIGHTED, counts=COUNTS, weighs_loss=False),
    "replayed": replace(PLAIN, n_replayed=B),
    "replayed, weighted": replace(WEIGHTED, n_replayed=B),
    "of actors": DrawnBatch.of(PLAIN, LOG_Q),
    "of actors, weighted": DrawnBatch.of(WEIGHTED, LOG_Q),
    # the first fact has five drawn and three stored questions, the last one only stored ones
    "of actors, stored": DrawnBatch.of(
        replace(PLAIN, n_replayed=5), (*LOG_Q[:5], *[None] * 3, *LOG_Q[8:11], *[None] * 2)
    ),
}


@dataclass(frozen=True)
class Paths:
    """Random numbers of every path, whose gradients are compared."""

    leaves: tuple[Tensor, Tensor, Tensor]
    log_reward: Tensor

    @classmethod
    def random(cls) -> Paths:
        rng = torch.Generator().manual_seed(0)
        shapes = ((B, LENGTH), (B, LENGTH + 1), (B, LENGTH + 1))
        leaves = tuple(
            (-torch.rand(shape, generator=rng, dtype=torch.float64) - 0.1).requires_grad_()
            for shape in shapes
        )
        log_reward = torch.randn(B, LENGTH + 1, generator=rng, dtype=torch.float64)
        return cls(leaves, log_reward)  # type: ignore[arg-type]

    def gradient(self, loss: StepLoss, batch: Batch, rows: slice, factor: float = 1.0) -> Tensor:
        """The gradient of the loss of some questions to all numbers, in one vector."""
        part = part_of(batch, rows)
        log_pf, log_pterm, log_flow = (leaf[rows] for leaf in self.leaves)
        n = len(part.scored)
        paths = PathLogProbs(log_pf, log_pterm, log_flow, torch.full((n,), LENGTH))
        terminal = TerminalReward(self.log_reward[rows, -1])
        if loss.objective.needs_prefix_rewards:
            u = prefix_potentials(paths, PrefixReward(self.log_reward[rows]))
        else:
            u = potentials(paths, terminal)
        if loss.objective.needs_tokens:
            u = replace(u, tokens=token_terms(part, terminal, paths, 0.0, 0.0))
        value = loss(part, terminal, paths, u, None, 0, factor)  # type: ignore[arg-type]
        found = torch.autograd.grad(value, self.leaves, allow_unused=True, materialize_grads=True)
        return torch.cat([grad.flatten() for grad in found])


def part_of(batch: Batch, rows: slice) -> Batch:
    """The batch of a rank that has some of the facts."""
    kept = {s.fact_key for s in batch.scored[rows]}
    part = replace(
        batch,
        facts=tuple(fact for fact in batch.facts if fact.key in kept),
        scored=batch.scored[rows],
        counts=batch.counts[rows],
        weights=None if batch.weights is None else batch.weights[rows],
    )
    if isinstance(part, DrawnBatch):
        part = replace(part, log_q=part.log_q[rows])
    return part


def of_two_ranks(paths: Paths, loss: StepLoss, batch: Batch) -> Tensor:
    """What `SamplerModule` and `all_reduce_gradients` make of the shares of two ranks."""
    ranks = (slice(0, N_FIRST), slice(N_FIRST, B))
    parts = [part_of(batch, rows) for rows in ranks]
    factors = [1.0, 1.0]
    if loss.has_both(0):
        both = [loss.terms_of_both(part) for part in parts]
        whole = Terms(sum(t.objective for t in both), sum(t.forward_kl for t in both))
        factors = [own.forward_kl_factor(whole) for own in both]
    terms = [loss.terms(part, 0) for part in parts]
    total = torch.zeros(())
    for rows, factor, n in zip(ranks, factors, terms, strict=True):
        total = total + n / sum(terms) * paths.gradient(loss, batch, rows, factor)
    return total


@pytest.mark.defect(3)
@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("name", LOSSES)
def test_two_unequal_ranks_have_the_gradient_of_their_union(name: str, kind: str):
    objective = LOSSES[name]
    batch = BATCHES[kind]
    if objective.on_policy and batch.n_replayed:
        pytest.skip("policy gradients learn from no stored questions")
    paths = Paths.random()
    for share in (0.0, 0.3, 1.0):
        loss = StepLoss(objective, LinearSchedule(share, share, 1), n_samples=8)
        whole = paths.gradient(loss, batch, slice(0, B))
        assert float(whole.norm()) > 1e-3
        found = of_two_ranks(paths, loss, batch)
        torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6 * float(whole.norm()))


def test_a_weighted_fact_counts_like_n_plain_draws():
    """Beside a rank that replays 8 questions of a fact without weights, facts weigh the same."""
    loss = StepLoss(VarGrad(), n_samples=8)
    pairs = StepLoss(ContrastiveTB(), n_samples=8)
    ranks = part_of(PLAIN, slice(0, 8)), part_of(WEIGHTED, slice(8, B))
    assert [loss.terms(part, 0) for part in ranks] == [8, 2 * 8]
    assert [pairs.terms(part, 0) for part in ranks] == [28, 2 * 28]


def test_a_rank_without_pairs_has_no_part_in_the_step():
    """One question of a fact: neither contrastive balance nor the forward KL can compare it."""
    assert Terms(0, 1).forward_kl_factor(Terms(28, 2)) == 0.0
    assert Terms(28, 1).forward_kl_factor(Terms(28, 2)) == pytest.approx(0.5)
    one = replace(PLAIN, facts=FACTS[:1], scored=SCORED[:1], counts=(1,))
    loss = StepLoss(ContrastiveTB(), LinearSchedule(0.5, 0.5, 1))
    assert loss.terms_of_both(one) == Terms(0, 1) and not math.isnan(loss.share(0))
