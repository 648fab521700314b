"""The reward of each question reaches the gradient; a wrong log Z does not reach the policy."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from contraflow.gflownet.objectives import Objective, SubTB, VarGrad, potentials
from contraflow.types import PathLogProbs, TerminalReward
from support.objectives import LAMBDAS, OBJECTIVES, gradients, leaves, random_case


@pytest.mark.defect(1)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_one_log_reward_reaches_loss_and_gradient(objective: Objective):
    """Each log R changes the loss on its own path; in the old design the reward canceled out."""
    paths, reward = random_case(4, [3, 1, 5])
    group = torch.tensor([0, 0, 0])
    loss, grads = gradients(objective, paths, reward, group)
    for row in range(3):
        other = reward.log_reward.clone()
        other[row] += 1.0
        loss_other, grads_other = gradients(objective, paths, TerminalReward(other), group)
        assert abs(loss_other - loss) > 1e-3
        # In detailed balance only the last step, P(stop | s_L) and F(s_L), touches the reward.
        felt = max(
            float((new - old)[row].nan_to_num().abs().max())
            for new, old in zip(grads_other, grads, strict=True)
        )
        assert felt > 1e-2


def old_loss(paths: PathLogProbs, log_reward: Tensor) -> Tensor:
    """Compute the loss of the old design: modified SubTB with one log R expanded over all prefixes.

    With F(s_t) = R(s_t⊤) / P_F(stop | s_t) the residual of (i, j) is log R_i − log P(stop|s_i) +
    Σ_{i≤k<j} log P_F − log R_j + log P(stop|s_j), and log R_i = log R_j.
    """
    expanded = log_reward[:, None].expand_as(paths.log_pterm)
    flow = expanded - paths.log_pterm
    t = paths.log_pf.shape[1]
    total = torch.zeros(())
    for i in range(t + 1):
        for j in range(i + 1, t + 1):
            total = total + (flow[:, i] + paths.log_pf[:, i:j].sum(1) - flow[:, j]).square().mean()
    return total


@pytest.mark.defect(1)
def test_the_reward_does_not_cancel_out_of_the_gradient():
    """A reward of +100 or −100 changed nothing in the old gradient, and changes ours."""
    g = torch.Generator().manual_seed(0)
    log_pf, log_pterm = -torch.rand(3, 4, generator=g), -torch.rand(3, 5, generator=g)
    paths = PathLogProbs(log_pf, log_pterm, torch.zeros(3, 5), torch.tensor([4, 4, 4]))

    def gradient_of(loss_of, log_reward: list[float]) -> Tensor:
        fresh, parts = leaves(paths)
        return torch.autograd.grad(loss_of(fresh, torch.tensor(log_reward)), parts[0])[0]

    ours = lambda p, r: SubTB()(potentials(p, TerminalReward(r)), torch.tensor([0, 0, 0]))  # noqa: E731
    good, bad = [100.0, 0.0, -100.0], [-100.0, 50.0, 100.0]
    torch.testing.assert_close(
        gradient_of(old_loss, good), gradient_of(old_loss, bad), atol=1e-3, rtol=0
    )
    assert (gradient_of(ours, good) - gradient_of(ours, bad)).abs().max() > 10


def test_vargrad_is_centred_within_each_fact():
    """A constant on log R of one fact is its Z; across facts it must not be learned from."""
    paths, reward = random_case(3, [2, 3, 1, 4])
    shift = torch.tensor([0.0, 0.0, 9.0, 9.0])
    moved = TerminalReward(reward.log_reward + shift)
    for group, same in ((torch.tensor([0, 0, 1, 1]), True), (torch.tensor([0, 0, 0, 0]), False)):
        loss, grads = gradients(VarGrad(), paths, reward, group)
        loss_moved, grads_moved = gradients(VarGrad(), paths, moved, group)
        assert (loss_moved == pytest.approx(loss, rel=1e-4)) is same
        assert torch.allclose(grads[0], grads_moved[0], atol=1e-4) is same


def test_routing_the_level_changes_no_value_and_no_flow_gradient():
    """SubTB splits off the cost of a wrong log Z(f).

    By the envelope theorem the flows get the gradient of the plain loss.
    """
    paths, reward = random_case(11, [3, 1, 5, 2])
    group = torch.tensor([0, 1, 0, 1])
    for lam in LAMBDAS:
        plain, plain_grads = gradients(SubTB(lam, route_level=False), paths, reward, group)
        routed, routed_grads = gradients(SubTB(lam), paths, reward, group)
        assert routed == pytest.approx(plain, rel=1e-5)
        torch.testing.assert_close(routed_grads[2], plain_grads[2], atol=1e-4, rtol=1e-4)


def test_a_log_z_that_is_still_wrong_does_not_push_the_policy():
    """All flows of a fact are off by a constant: the flows get a gradient, P_F and P(stop) none."""
    paths, reward = random_case(12, [3, 1, 5, 2])
    group = torch.tensor([0, 1, 0, 1])
    off = torch.tensor([30.0, -20.0])[group][:, None] * torch.ones_like(paths.log_flow)
    loss, grads = gradients(SubTB(0.9), paths, reward, group)
    loss_off, grads_off = gradients(
        SubTB(0.9), dataclasses.replace(paths, log_flow=paths.log_flow + off), reward, group
    )
    assert loss_off > loss + 10
    for grad, grad_off in zip(grads[:2], grads_off[:2], strict=True):
        torch.testing.assert_close(grad, grad_off, atol=1e-3, rtol=1e-3)
    assert (grads[2] - grads_off[2]).abs().max() > 1
