"""The training step without a trainer: flow priors, learning rates, what it refuses."""

from __future__ import annotations

import math
import statistics

import lightning as L
import pytest
import torch

from contraflow.errors import UserError
from contraflow.experience.scorer import SampledQuestion
from contraflow.experience.stream import StepFacts
from contraflow.gflownet.objectives import Objective, SubTB, VarGrad, potentials
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.settings.learning import ExplorationConfig, OptimizerConfig
from contraflow.settings.models import LoraConfig
from contraflow.training.module import SamplerModule
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import RecordingJudge, arbitrary_log_c, small_experience, small_policy

pytestmark = pytest.mark.filterwarnings("ignore")


def module_of(
    reward: RewardSchedule,
    objective: Objective | None = None,
    r: int = 4,
    settings: ExplorationConfig | None = None,
    **options: bool,
) -> SamplerModule:
    policy = small_policy(fresh_lm(), lora=LoraConfig(r=r, alpha=8))
    experience = small_experience(policy, reward=reward, settings=settings)
    return SamplerModule(
        policy,
        experience,
        reward,
        objective or SubTB(),
        OptimizerConfig(lr=0.5, flow_lr=0.25, log_z_lr=0.125),
        n_steps=10,
        **options,
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_at_the_start_a_forward_looking_u_is_known(weight: float, temperature: float):
    """Adapter and flow head are zero: log P_F = log prior, v_t = (w / T) · log prior of the prefix.

    u_t = (w / T - 1) · log prior(y_1 … y_t): with w = T = 1 it is 0 at every inner node, and the
    terminal is u_{L+1} = log R - log P_Q = log C. For other w, T the same by hand.
    """
    reward = RewardSchedule(
        kind="static",
        likelihood_weight=weight,
        reward_temp_end=temperature,
        answer_quality_threshold=-1e9,
        question_failure_penalty=0.0,
    )
    module = module_of(reward)
    batch = module.experience.collect(FACTS, 0)
    parts = RewardParts.of(batch.scored)
    paths = module.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    u = potentials(paths, reward(parts, 0), module._flow_prior(batch, paths, 0))
    for row, s in enumerate(batch.scored):
        n = len(s.question_ids)
        prefixes = [sum(s.log_prior[:t]) for t in range(n + 1)]
        inner = [(weight / temperature - 1) * x for x in prefixes]
        terminal = (
            s.log_contradiction + weight * s.log_p_question
        ) / temperature - s.log_p_question
        assert u.u[row, : n + 2].tolist() == pytest.approx([*inner, terminal], abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_forward_looking_flow_has_the_rewards_ceiling(temperature: float):
    """u_t = (w / T) min(log prior(y_1 … y_t), c) - log prior(y_1 … y_t), and u_0 = 0.

    One token more, the stop, takes the minimum to that of the reward: min(log P_Q, c).
    """
    weight, ceiling = 0.5, -2.5
    reward = RewardSchedule(
        kind="static",
        likelihood_weight=weight,
        likelihood_ceiling=ceiling,
        reward_temp_end=temperature,
        answer_quality_threshold=-1e9,
        question_failure_penalty=0.0,
    )
    module = module_of(reward)
    batch = module.experience.collect(FACTS, 0)
    paths = module.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    prior = module._flow_prior(batch, paths, 0)
    assert prior is not None
    u = potentials(paths, reward(RewardParts.of(batch.scored), 0), prior)
    values_of_state: dict[tuple[str, tuple[int, ...]], float] = {}
    n_clamped = 0
    for row, s in enumerate(batch.scored):
        n = len(s.question_ids)
        prefixes = [sum(s.log_prior[:t]) for t in range(1, n + 1)]
        n_clamped += sum(x > ceiling for x in prefixes)
        inner = [weight / temperature * min(x, ceiling) - x for x in prefixes]
        terminal = (
            s.log_contradiction + weight * min(s.log_p_question, ceiling)
        ) / temperature - s.log_p_question
        assert u.u[row, : n + 2].tolist() == pytest.approx([0.0, *inner, terminal], abs=1e-4)
        for t in range(n + 1):
            state = (s.fact_id, s.question_ids[:t])
            first = values_of_state.setdefault(state, float(prior[row, t]))
            assert float(prior[row, t]) == pytest.approx(first, abs=1e-4)
    n_states = sum(len(s.question_ids) for s in batch.scored)
    assert 0 < n_clamped < n_states


def test_without_a_ceiling_the_flow_prior_is_the_plain_sum():
    """Bit for bit: `likelihood_ceiling` = 0 is no ceiling."""
    module = module_of(RewardSchedule(kind="static", likelihood_weight=0.7))
    batch = module.experience.collect(FACTS, 0)
    paths = module.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    prior = torch.zeros_like(paths.log_flow)
    for row, s in enumerate(batch.scored):
        prior[row, 1 : len(s.question_ids) + 1] = torch.tensor(s.log_prior[: len(s.question_ids)])
    found = module._flow_prior(batch, paths, 0)
    assert found is not None and torch.equal(found, 0.7 * prior.cumsum(1))


def test_the_end_of_a_trainer_leaves_the_sampler_on_its_device():
    """On a GPU the adapter would else be on the CPU when the trained sampler is evaluated.

    `meta` is a device too, and nothing can be moved off it.
    """
    module = module_of(RewardSchedule(kind="static")).to("meta")
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        devices=1,
    )
    trainer.strategy.connect(module)
    trainer.strategy.teardown()
    assert {p.device.type for p in module.parameters()} == {"meta"}


def test_no_flow_prior_where_it_is_off_or_where_there_is_no_flow():
    reward = RewardSchedule(kind="static")
    for module in (module_of(reward, forward_looking=False), module_of(reward, VarGrad())):
        batch = module.experience.collect(FACTS, 0)
        paths = module.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
        assert module._flow_prior(batch, paths, 0) is None


def test_adapter_inner_flows_and_log_z_have_their_own_rates():
    module = module_of(RewardSchedule(kind="static"))
    optimizer = module.configure_optimizers()["optimizer"]
    adapter, flow, log_z = optimizer.param_groups
    assert [g["initial_lr"] for g in (adapter, flow, log_z)] == [0.5, 0.25, 0.125]
    trained = {id(p) for p in module.policy.lm.model.parameters() if p.requires_grad}
    assert {id(p) for p in adapter["params"]} == trained
    assert {id(p) for p in flow["params"]} == {id(p) for p in module.policy.flow.inner.parameters()}
    assert {id(p) for p in log_z["params"]} == {
        id(p) for p in module.policy.flow.log_z.parameters()
    }


def test_a_loss_that_is_no_number_names_step_facts_and_remedy():
    module = module_of(RewardSchedule(kind="static"))
    with torch.no_grad():
        module.policy.flow.log_z.outer.bias.fill_(math.nan)
    with pytest.raises(
        UserError, match=r"the loss is nan at step 0 \(facts a, b\); lower optimizer\.lr"
    ):
        module.training_step(StepFacts(0, tuple(FACTS)), 0)


def test_a_gradient_that_is_no_number_stops_before_it_reaches_the_weights():
    """Clipped it is NaN, which AdamW would write into all weights, and a checkpoint would keep."""
    module = module_of(RewardSchedule(kind="static"))
    optimizer = module.configure_optimizers()["optimizer"]
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.full_like(parameter, math.inf)
    with pytest.raises(UserError, match=r"the gradient is inf at step 0 .*; lower optimizer\.lr"):
        module.on_before_optimizer_step(optimizer)


def test_repeats_that_count_once_change_the_loss_alone():
    """VarGrad by hand, over the distinct questions of each fact; metrics are about all samples."""

    def step_of(count_repeats: bool) -> SamplerModule:
        settings = ExplorationConfig(
            64, pf_temp_prob=0.0, use_buffer_prob=0.0, count_repeats=count_repeats
        )
        module = module_of(RewardSchedule(kind="static"), VarGrad(), settings=settings)
        module.training_step(StepFacts(0, tuple(FACTS)), 0)
        return module

    counted, once = (step_of(count_repeats).outcome for count_repeats in (True, False))
    assert counted is not None and once is not None
    assert len(once.batch.scored) < len(counted.batch.scored) == 128
    ratio = (once.log_reward - once.log_pf).tolist()
    of_fact = [
        [r for r, i in zip(ratio, once.batch.fact_index, strict=True) if i == fact]
        for fact in (0, 1)
    ]
    squares = [(r - statistics.fmean(rows)) ** 2 for rows in of_fact for r in rows]
    assert once.metrics["loss"] == pytest.approx(statistics.fmean(squares), rel=1e-4)
    assert once.metrics["loss"] != pytest.approx(counted.metrics["loss"], rel=1e-2)
    loss = {"loss": 0.0}
    assert once.metrics | loss == pytest.approx(counted.metrics | loss, rel=1e-4, abs=1e-5)


def test_a_checkpoint_of_another_adapter_is_refused_by_tensor():
    reward = RewardSchedule(kind="static")
    module = module_of(reward)
    saved = {"state_dict": dict(module.state_dict())}
    module.on_save_checkpoint(saved)
    module.on_load_checkpoint(saved)
    missing = sorted(saved["state_dict"])[0]
    del saved["state_dict"][missing]
    with pytest.raises(UserError, match=f"differs in {missing}"):
        module.on_load_checkpoint(saved)


def test_a_resumed_run_keeps_the_scores_of_its_checkpoint():
    """Two judges differ by 1e-6, as two batches of one judge may: replay keeps entry and step."""
    reward = RewardSchedule(kind="static")
    module, resumed = module_of(reward), module_of(reward)
    module.training_step(StepFacts(0, tuple(FACTS)), 0)
    saved = {"state_dict": dict(module.state_dict())}
    module.on_save_checkpoint(saved)
    held = resumed.experience
    held.scorer.judge = RecordingJudge(
        lambda premise, answer: arbitrary_log_c(premise, answer) + 1e-6
    )
    resumed.on_load_checkpoint(saved)
    before = list(held.replay.entries())
    again = [
        SampledQuestion(
            {f.fact_id: f for f in FACTS}[s.scored.fact_id],
            s.scored.question_ids,
            s.scored.question,
        )
        for s in before
    ]
    scored = held.scorer.score(again, step=7)
    assert held.replay.add(scored, reward.priority(RewardParts.of(scored)).tolist()) == 0
    assert list(held.replay.entries()) == before and {s.scored.step for s in before} == {0}
