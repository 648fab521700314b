"""The weights of a step's draws: means over policy and prior, and gradients, without bias.

Everything is exact on a space that can be enumerated: 2 + 4 + 8 questions of each fact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import pytest
import torch
from torch import Tensor

from contraflow.exactness.space import FACTS, Space, make_space
from contraflow.experience.collect import Batch
from contraflow.experience.draws import Draw, draw_weighted
from contraflow.gflownet.forward_kl import forward_kl
from contraflow.gflownet.objectives import (
    ContrastiveTB,
    DetailedBalance,
    Objective,
    SubTB,
    TrajectoryBalance,
    VarGrad,
)
from contraflow.gflownet.penalties import ShiftedCosh
from contraflow.gflownet.policy_gradient import Rloo
from contraflow.gflownet.potentials import Potentials, potentials
from contraflow.policy.lora import stack_questions
from contraflow.seeding import torch_rng
from contraflow.settings.learning import ExplorationConfig
from contraflow.training.loss import log_density
from contraflow.types import PathLogProbs, TerminalReward

FACT = FACTS[0]
N_CHUNKS = 30
N_PER_CHUNK = 80


@pytest.fixture(scope="module")
def space() -> Space:
    """A space whose adapter and flow head are not zero."""
    space = make_space(architecture="llama", n_tokens=2, max_len=3, reward="table", seed=0)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in space.policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2, generator=rng)
        for parameter in space.policy.flow.parameters():
            parameter.normal_(0, 0.1, generator=rng)
    return space


def number_of(space: Space) -> dict[tuple[int, ...], int]:
    return {ids: i for i, ids in enumerate(space.questions)}


Chunk = tuple[Tensor, Tensor, Tensor]


def draws_of(space: Space, settings: ExplorationConfig, chunk: int) -> Chunk:
    """Return question, weight and repetition of every draw of many repetitions of a step.

    Each repetition has a fact of its own name, so that draws of different ones are not merged.
    """
    facts = [msgspec.structs.replace(FACT, fact_id=str(i)) for i in range(N_PER_CHUNK)]
    rng = torch_rng("draws", chunk, device=space.policy.lm.device)
    draws = draw_weighted(space.policy, facts, settings, rng, 1.0)
    number = number_of(space)
    rows = torch.tensor([number[d.question.ids] for d in draws])
    weight = torch.tensor([d.weight for d in draws], dtype=torch.float64)
    return rows, weight, torch.tensor([int(d.question.fact.fact_id) for d in draws])


def settings_of(**changes: object) -> ExplorationConfig:
    return ExplorationConfig(n_samples=4, **changes)  # type: ignore[arg-type]


SETTINGS = {
    "different": settings_of(distinct=True),
    "different and prior": settings_of(distinct=True, prior_share=0.5),
    "prior": settings_of(prior_share=0.25),
}


@dataclass(frozen=True)
class Repeated:
    """Many repetitions of a step: question, weight and repetition of every draw of each chunk."""

    share: float
    replaces: bool  # the policy's own draws are with replacement
    chunks: list[Chunk]


@pytest.fixture(scope="module", params=SETTINGS.values(), ids=SETTINGS)
def repeated(request: pytest.FixtureRequest, space: Space) -> Repeated:
    settings = request.param
    chunks = [draws_of(space, settings, chunk) for chunk in range(N_CHUNKS)]
    return Repeated(settings.prior_share, not settings.distinct, chunks)


def log_prior_of(space: Space) -> Tensor:
    with space.policy.lm.frozen():
        return space.log_pf(FACT)[0]


def assert_mean(values: Tensor, expected: Tensor) -> None:
    """Each column's mean is as expected, within 4.5 standard errors."""
    error = values.std(0) / math.sqrt(len(values))
    assert bool(((values.mean(0) - expected).abs() <= 4.5 * error + 1e-9).all())


def test_weights_estimate_the_mixture(space: Space, repeated: Repeated):
    """The mean weight of a question, 0 where it is not drawn, is (1 − s) P_F + s P_Q."""
    found = []
    for rows, weight, repetition in repeated.chunks:
        grid = torch.zeros(N_PER_CHUNK, len(space.questions), dtype=torch.float64)
        found.append(grid.index_put((repetition, rows), weight))
    share = repeated.share
    mixture = (1 - share) * space.log_pf(FACT)[0].exp() + share * log_prior_of(space).exp()
    assert_mean(torch.cat(found), mixture)


def test_equal_questions_are_one_draw(space: Space):
    """Of policy and prior: 4 of each of 14 questions overlap, and their weights are added."""
    settings = ExplorationConfig(n_samples=8, distinct=True, prior_share=0.5)
    rng = torch_rng("merged", device=space.policy.lm.device)
    draws = draw_weighted(space.policy, FACTS, settings, rng, 1.0)
    assert len({d.question.key for d in draws}) == len(draws) < 16
    assert sum(d.count for d in draws) == 16
    assert any(d.count == 2 for d in draws)
    owners = [d.question.fact for d in draws]
    assert owners == sorted(owners, key=FACTS.index)


def test_normalized_weights_sum_to_one(space: Space):
    settings = settings_of(distinct=True, distinct_weights="normalized", prior_share=0.25)
    rng = torch_rng("normalized", device=space.policy.lm.device)
    draws = draw_weighted(space.policy, FACTS, settings, rng, 1.0)
    for fact in FACTS:
        own = [d.weight for d in draws if d.question.fact == fact]
        assert sum(own) == pytest.approx(1.0)


def test_a_fact_with_few_questions_gets_all_of_them(space: Space):
    """Asked for 20 of 14: every question is certain, and weighs its probability."""
    settings = ExplorationConfig(n_samples=20, distinct=True)
    rng = torch_rng("all", device=space.policy.lm.device)
    draws = draw_weighted(space.policy, [FACT], settings, rng, 1.0)
    found = {d.question.ids: d.weight for d in draws}
    expected = dict(zip(space.questions, space.log_pf(FACT)[0].exp().tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-4)


class Enumerated:
    """The paths of all questions as leaves, with the potentials of chosen rows."""

    def __init__(self, space: Space) -> None:
        questions = stack_questions(space.questions, "cpu")
        index = torch.zeros(len(space.questions), dtype=torch.long)
        with torch.no_grad():
            paths = space.policy.evaluate([FACT], index, questions)
        self.log_pf = paths.log_pf.double().requires_grad_()
        self.log_pterm = paths.log_pterm.double().requires_grad_()
        self.log_flow = paths.log_flow.double().requires_grad_()
        self.lengths = paths.lengths
        self.log_p = paths.log_p_question.double()
        self.reward = space.log_reward(FACT)

    def potentials(self, rows: Tensor) -> Potentials:
        paths = PathLogProbs(
            self.log_pf[rows], self.log_pterm[rows], self.log_flow[rows], self.lengths[rows]
        )
        return potentials(paths, TerminalReward(self.reward[rows]))

    def gradient(self, loss: Tensor) -> Tensor:
        """Return the gradient in all log-probabilities and flows."""
        leaves = [self.log_pf, self.log_pterm, self.log_flow]
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        return torch.cat(
            [
                torch.zeros_like(x).flatten() if g is None else g.nan_to_num().flatten()
                for x, g in zip(leaves, found, strict=True)
            ]
        )


OF_QUESTIONS: list[Objective] = [
    TrajectoryBalance(),
    TrajectoryBalance(ShiftedCosh(3.0)),
    DetailedBalance(),
    SubTB(0.9, route_level=False),
]
OF_PAIRS: list[Objective] = [
    VarGrad(),
    ContrastiveTB(),
    ContrastiveTB(ShiftedCosh(3.0)),
    Rloo(),
]


@pytest.mark.parametrize("objective", OF_QUESTIONS + OF_PAIRS, ids=str)
def test_the_expected_gradient_is_the_exact_one(
    space: Space, repeated: Repeated, objective: Objective
):
    """Over 2,400 steps the gradient's mean is that of all questions with their probabilities.

    The probabilities are those that were sampled: of the policy, or of its mixture with the prior.
    Plain draws of n have n − 1 of n pairs only, so losses over pairs are left out there.
    """
    if repeated.replaces and objective in OF_PAIRS:
        pytest.skip("plain draws have too few pairs")
    whole = Enumerated(space)
    share = repeated.share
    mixture = (1 - share) * whole.log_p.exp() + share * log_prior_of(space).exp()
    rows = torch.arange(len(space.questions))
    loss = objective(whole.potentials(rows), torch.zeros_like(rows), mixture.detach())
    exact = whole.gradient(loss)
    assert float(exact.abs().max()) > 0.01
    found = [
        whole.gradient(objective(whole.potentials(rows), repetition, weight))
        for rows, weight, repetition in repeated.chunks
    ]
    assert_mean(torch.stack(found), exact)


def test_plain_weights_give_the_loss_without_weights(space: Space):
    """Each of n draws weighs 1/n: the same numbers as a plain mean over the questions."""
    whole = Enumerated(space)
    rows = torch.tensor([0, 3, 3, 7, 1, 2, 13, 9])
    group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    weight = torch.full((8,), 0.25, dtype=torch.float64)
    for objective in (VarGrad(), SubTB(0.9), TrajectoryBalance(), DetailedBalance()):
        plain = float(objective(whole.potentials(rows), group).detach())
        weighted = float(objective(whole.potentials(rows), group, weight).detach())
        assert weighted == pytest.approx(plain, rel=1e-6)
    # All ordered pairs, the 4 of a question with itself included: 12 of 16.
    plain = float(ContrastiveTB()(whole.potentials(rows), group).detach())
    weighted = float(ContrastiveTB()(whole.potentials(rows), group, weight).detach())
    assert weighted == pytest.approx(plain * 12 / 16, rel=1e-6)


@pytest.mark.parametrize(("share", "temperature"), [(0.0, 1.0), (0.25, 1.0), (0.5, 2.0)])
def test_the_density_is_that_of_the_mixture(space: Space, share: float, temperature: float):
    """log((1 − s) P_F + s P_Q), with the policy at the step's temperature."""
    scored = _scored(space)
    batch = Batch((FACT,), scored, (1,) * len(scored), temperature, 0, "cpu", prior_share=share)
    paths = space.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    got = log_density(batch, paths, space.policy)
    tempered = space.policy.evaluate(
        batch.facts, batch.fact_index, batch.questions, temperature
    ).log_p_question
    mixture = (1 - share) * tempered.exp() + share * log_prior_of(space).exp()
    torch.testing.assert_close(got.exp(), mixture.float(), rtol=1e-4, atol=1e-7)
    assert float(got.exp().sum()) == pytest.approx(1.0, abs=1e-4)
    assert not got.requires_grad


def _scored(space: Space):
    from contraflow.experience.scorer import SampledQuestion

    sampled = [
        SampledQuestion(FACT, ids, space.policy.question_text(ids)) for ids in space.questions
    ]
    return tuple(space.scorer.score(sampled, 0))


def test_the_forward_kl_of_all_questions_is_exact(space: Space):
    """Drawn without replacement until nothing is left: twice KL(R/Z ‖ P_F), to rounding."""
    settings = ExplorationConfig(n_samples=20, distinct=True)
    rng = torch_rng("all", device=space.policy.lm.device)
    draws: list[Draw] = draw_weighted(space.policy, [FACT], settings, rng, 1.0)
    number = number_of(space)
    rows = torch.tensor([number[d.question.ids] for d in draws])
    log_pf = space.log_pf(FACT)[0]
    log_r = space.log_reward(FACT)
    log_w = torch.tensor([d.weight for d in draws]).log()
    group = torch.zeros_like(rows)
    loss = forward_kl(log_r[rows], log_pf[rows], log_w, log_pf[rows], group)
    target = log_r.softmax(0)
    exact = 2 * (target * (target.log() - log_pf)).sum()
    assert float(loss) == pytest.approx(float(exact), rel=1e-3)
