"""The loss of a step: shares of objective and forward KL, densities, and the terms of tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from contraflow.experience.collect import Batch
from contraflow.experience.stream import StepFacts
from contraflow.gflownet.forward_kl import forward_kl
from contraflow.gflownet.objectives import ContrastiveTB, VarGrad, potentials
from contraflow.gflownet.policy_gradient import Grpo
from contraflow.reward.ramps import LinearSchedule
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.settings.learning import ExplorationConfig, ObjectiveConfig, OptimizerConfig
from contraflow.training.loss import StepLoss, token_terms
from contraflow.training.module import SamplerModule
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import small_experience, small_policy

pytestmark = pytest.mark.filterwarnings("ignore")
STATIC = RewardSchedule(
    kind="static", likelihood_weight=0.5, likelihood_ceiling=-3.0, question_failure_penalty=0.0
)


def module_of(loss: StepLoss, **settings: float | bool) -> SamplerModule:
    """Return a module whose policy differs from the prior."""
    policy = small_policy(fresh_lm())
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=rng)
    exploration = ExplorationConfig(n_samples=4, **settings)  # type: ignore[arg-type]
    experience = small_experience(policy, reward=STATIC, settings=exploration)
    return SamplerModule(policy, experience, STATIC, loss, OptimizerConfig(), n_steps=10)


def parts_of(module: SamplerModule, batch: Batch, loss: StepLoss, step: int) -> Tensor:
    reward = STATIC(RewardParts.of(batch.scored), step)
    paths = module.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    return loss(batch, reward, paths, potentials(paths, reward), module.policy, step)


ON_POLICY = {"use_buffer_prob": 0.0, "pf_temp_prob": 0.0}


def test_the_share_moves_from_start_to_end():
    settings = ObjectiveConfig(name="vargrad", forward_kl=0.8, forward_kl_end=0.2)
    loss = StepLoss.of(VarGrad(), settings, n_steps=6)
    assert [loss.share(step) for step in (0, 3, 6, 9)] == pytest.approx([0.8, 0.5, 0.2, 0.2])
    short = ObjectiveConfig(forward_kl=1.0, forward_kl_end=0.0, forward_kl_horizon=2)
    assert [StepLoss.of(VarGrad(), short, 6).share(s) for s in (0, 1, 2)] == [1.0, 0.5, 0.0]
    constant = StepLoss.of(VarGrad(), ObjectiveConfig(forward_kl=0.3), 6)
    assert [constant.share(s) for s in (0, 6)] == [0.3, 0.3] and constant.uses_forward_kl
    assert not StepLoss.of(VarGrad(), ObjectiveConfig(), 6).uses_forward_kl


def test_the_loss_is_the_mean_of_both_by_their_shares():
    objective = VarGrad()
    module = module_of(StepLoss(objective), distinct=True, prior_share=0.5, **ON_POLICY)
    batch = module.experience.collect(FACTS, 0)
    alone, forward, mixed = (
        float(parts_of(module, batch, StepLoss(objective, LinearSchedule(s, s, 1)), 0).detach())
        for s in (0.0, 1.0, 0.25)
    )
    assert mixed == pytest.approx(0.75 * alone + 0.25 * forward, rel=1e-5)
    reward = STATIC(RewardParts.of(batch.scored), 0)
    paths = module.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    prior = torch.tensor([s.log_p_question for s in batch.scored])
    log_pf = paths.log_p_question.detach()
    mixture = torch.logaddexp(log_pf, prior) - torch.tensor(2.0).log()
    assert batch.weights is not None
    log_w = torch.tensor(batch.weights).log()
    by_hand = forward_kl(reward.log_reward, log_pf, log_w, mixture, batch.fact_index)
    assert forward == pytest.approx(float(by_hand), rel=1e-4)
    weighted = objective(potentials(paths, reward), batch.fact_index, torch.tensor(batch.weights))
    assert alone == pytest.approx(float(weighted.detach()), rel=1e-5)


def test_a_replayed_batch_is_a_set_without_density():
    """R / Z against P_F, both restricted to the stored questions."""
    loss = StepLoss(VarGrad(), LinearSchedule(1.0, 1.0, 1))
    module = module_of(loss, use_buffer_prob=0.0, pf_temp_prob=0.0)
    module.experience.collect(FACTS, 0)
    module.experience.settings = ExplorationConfig(n_samples=3, use_buffer_prob=1.0)
    batch = module.experience.collect(FACTS, 1)
    assert batch.n_replayed == len(batch.scored)
    got = float(parts_of(module, batch, loss, 1).detach())
    log_r = STATIC(RewardParts.of(batch.scored), 1).log_reward
    paths = module.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    log_pf = paths.log_p_question.detach()
    by_hand = 0.0
    for fact in range(len(batch.facts)):
        rows = batch.fact_index == fact
        target, policy = log_r[rows].log_softmax(0), log_pf[rows].log_softmax(0)
        by_hand += 2 * float((target.exp() * (target - policy)).sum()) / len(batch.facts)
    assert got == pytest.approx(by_hand, rel=1e-4)


def test_equal_weights_leave_the_objective_plain():
    module = module_of(
        StepLoss(VarGrad()),
        distinct=True,
        distinct_weights="equal",  # type: ignore[arg-type]
        **ON_POLICY,
    )
    batch = module.experience.collect(FACTS, 0)
    assert batch.loss_weight is None and batch.weights is not None
    reward = STATIC(RewardParts.of(batch.scored), 0)
    paths = module.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    plain = VarGrad()(potentials(paths, reward), batch.fact_index)
    got = parts_of(module, batch, StepLoss(VarGrad()), 0)
    assert float(got.detach()) == pytest.approx(float(plain.detach()))


def test_repeats_count_in_the_forward_kl_if_not_in_the_loss():
    module = module_of(StepLoss(VarGrad()), count_repeats=False, **ON_POLICY)
    module.experience.settings.n_samples = 40  # of 39 questions
    batch = module.experience.collect(FACTS[:1], 0)
    assert max(batch.counts) > 1 and sum(batch.counts) == 40
    assert batch.weight.tolist() == list(map(float, batch.counts)) and batch.loss_weight is None


def test_a_rank_weighs_as_its_facts_do():
    """Weighted, a fact counts like n draws, whatever the number of its rows; else rows count."""
    settings = {"distinct": True, "prior_share": 0.5, **ON_POLICY}
    module = module_of(StepLoss(VarGrad()), **settings)
    module.experience.settings.n_samples = 16
    batch = module.experience.collect(FACTS, 0)
    assert len(batch.scored) < 32 == sum(batch.counts)
    assert StepLoss(VarGrad(), n_samples=16).terms(batch, 0) == 32
    assert StepLoss(ContrastiveTB(), n_samples=16).terms(batch, 0) == 2 * (16 * 15 // 2)
    plain = module_of(StepLoss(VarGrad()), count_repeats=False, **ON_POLICY)
    plain.experience.settings.n_samples = 40
    batch = plain.experience.collect(FACTS, 0)
    assert StepLoss(VarGrad(), n_samples=40).terms(batch, 0) == len(batch.scored) < 80


def test_the_terms_of_tokens_by_the_parts_of_the_reward():
    """Log-probabilities of tokens, then the stop; the score is the reward without its prior."""
    module = module_of(StepLoss(Grpo()), **ON_POLICY)
    batch = module.experience.collect(FACTS, 0)
    reward = STATIC(RewardParts.of(batch.scored), 0)
    paths = module.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    weight = STATIC.prior_weight(0)
    terms = token_terms(batch, reward, paths, weight, STATIC.likelihood_ceiling)
    for row, scored in enumerate(batch.scored):
        n = len(scored.question_ids)
        assert terms.mask[row].sum() == n + 1
        expected = [*paths.log_pf[row, :n].tolist(), float(paths.log_p_stop[row].detach())]
        assert terms.log_pf[row, : n + 1].tolist() == pytest.approx(expected)
        assert terms.log_prior[row, : n + 1].tolist() == pytest.approx(scored.log_prior)
        assert float(terms.score[row]) == pytest.approx(scored.log_contradiction, abs=1e-4)
    module.training_step(StepFacts(0, tuple(FACTS)), 0).backward()
