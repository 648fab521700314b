"""The forward KL term against numbers by hand, enumeration, and the losses that it equals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from contraflow.gflownet.forward_kl import forward_kl, restricted_log_shares
from contraflow.gflownet.objectives import VarGrad
from contraflow.gflownet.penalties import Linex, Square
from contraflow.gflownet.potentials import Potentials
from contraflow.types import LOG_ZERO

GROUP = torch.tensor([0, 0, 1, 1, 1, 0, 1])


def numbers(seed: int, n: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return log R, log P_F, log w and log q of n questions."""
    g = torch.Generator().manual_seed(seed)
    log_r, log_pf, log_w, log_q = 3 * torch.randn(4, n, generator=g, dtype=torch.float64)
    return log_r, log_pf.requires_grad_(), log_w, log_q


def gradient(loss: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(loss, x)[0].double()


def test_two_draws_of_the_policy_by_hand():
    """R / P_F = 1 and 3: v = ¼, ¾ and c = ½, ½.

    Loss 2 (¼ log ½ + ¾ log 3/2); gradient in log P_F −2 (v − c) = ½, −½.
    """
    log_pf = torch.tensor([-1.0, -2.0], requires_grad=True)
    log_r = torch.tensor([-1.0, -2.0 + math.log(3)])
    zeros, group = torch.zeros(2), torch.tensor([0, 0])
    loss = forward_kl(log_r, log_pf, zeros, log_pf.detach(), group)
    assert float(loss.detach()) == pytest.approx(2 * (0.25 * math.log(0.5) + 0.75 * math.log(1.5)))
    assert gradient(loss, log_pf).tolist() == pytest.approx([0.5, -0.5])


def test_weights_and_densities_by_hand():
    """w R / q = 2 · 3 / 1 and 1 · 2 / 1: v = ¾, ¼; w P_F / q = 2 · ½ and 1 · ½: c = ⅔, ⅓."""
    log_pf = torch.tensor([math.log(0.5)] * 2, requires_grad=True)
    log_r, log_w = torch.tensor([3.0, 2.0]).log(), torch.tensor([2.0, 1.0]).log()
    loss = forward_kl(log_r, log_pf, log_w, torch.zeros(2), torch.tensor([0, 0]))
    assert gradient(loss, log_pf).tolist() == pytest.approx([-2 * (3 / 4 - 2 / 3), 2 * (1 / 12)])


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_nothing_moves_at_the_optimum_whatever_was_sampled(power: float):
    """P_F = R / Z of each fact: any questions, weights and densities give a gradient of 0."""
    log_r, log_pf, log_w, log_q = numbers(0)
    log_z = torch.tensor([4.0, -6.0])[GROUP]
    log_pf = (log_r - log_z).requires_grad_()
    loss = forward_kl(log_r, log_pf, log_w, log_q, GROUP, power)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)  # float32
    torch.testing.assert_close(gradient(loss, log_pf), torch.zeros_like(log_r), atol=1e-6, rtol=0)


def test_all_questions_give_the_exact_divergence():
    """Every question once, with any w = q: twice the KL(R/Z ‖ P_F)."""
    log_r, log_pf, log_w, _ = numbers(1)
    group = torch.zeros(7, dtype=torch.long)
    loss = forward_kl(log_r, log_pf.log_softmax(0), log_w, log_w, group)
    target = log_r.softmax(0)
    exact = 2 * (target * (target.log() - log_pf.log_softmax(0))).sum()
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), rel=1e-5)


@pytest.mark.parametrize("power", [1.0, 0.5, 0.25])
def test_on_policy_it_is_vargrad_with_linex(power: float):
    """q = P_F and equal weights: (2/α)(v − 1/n), the gradient of VarGrad with that α.

    VarGrad is a mean over questions, the forward KL one over facts, so facts have equal numbers.
    """
    log_r, log_pf, _, _ = numbers(2, 6)
    group = torch.tensor([0, 1, 0, 1, 0, 1])
    term = forward_kl(log_r, log_pf, torch.zeros(6), log_pf, group, power)
    u = torch.stack([torch.zeros(6), log_r - log_pf], 1)
    ones = torch.ones(6, dtype=torch.long)
    p = Potentials(u, u, torch.ones(6, 2, dtype=torch.bool), ones)
    linex = VarGrad(Linex(alpha=power))(p, group)
    torch.testing.assert_close(
        gradient(term, log_pf), gradient(linex, log_pf), atol=1e-5, rtol=1e-4
    )


def test_a_small_power_is_vargrad_with_squares():
    log_r, log_pf, _, _ = numbers(3, 6)
    group = torch.tensor([0, 1, 0, 1, 0, 1])
    term = forward_kl(log_r, log_pf, torch.zeros(6), log_pf, group, 0.01)
    u = torch.stack([torch.zeros(6), log_r - log_pf], 1)
    ones = torch.ones(6, dtype=torch.long)
    p = Potentials(u, u, torch.ones(6, 2, dtype=torch.bool), ones)
    squares = gradient(VarGrad(Square())(p, group), log_pf)
    torch.testing.assert_close(gradient(term, log_pf), squares, atol=0.05, rtol=0.1)


def test_facts_do_not_mix():
    """A constant on log R, log q or log w of one fact changes nothing."""
    log_r, log_pf, log_w, log_q = numbers(4)
    shift = torch.tensor([0.0, 5.0])[GROUP]
    loss = forward_kl(log_r, log_pf, log_w, log_q, GROUP)
    for moved in (
        (log_r + shift, log_pf, log_w, log_q),
        (log_r, log_pf, log_w + shift, log_q),
        (log_r, log_pf, log_w, log_q + shift),
    ):
        assert float(forward_kl(*moved, GROUP).detach()) == pytest.approx(
            float(loss.detach()), rel=1e-4
        )


def test_a_reward_of_zero_has_a_share_of_zero():
    log_r, log_pf, log_w, log_q = numbers(5)
    log_r[3] = LOG_ZERO
    target, _ = restricted_log_shares(log_r, log_pf, log_w, log_q, GROUP, 1.0)
    loss = forward_kl(log_r, log_pf, log_w, log_q, GROUP)
    assert float(target[3]) < LOG_ZERO / 2 and bool(loss.isfinite())
    assert bool(gradient(loss, log_pf).isfinite().all())


def test_draws_of_another_density_estimate_the_exact_gradient():
    """200,000 draws of a mixture of policy and prior, in shares of ¾ and ¼, of five questions.

    The gradient in the logits is that of twice the KL(R/Z ‖ P_F).
    """
    g = torch.Generator().manual_seed(0)
    log_r = torch.tensor([0.5, -1.0, 2.0, -3.0, 1.0], dtype=torch.float64)
    logits = torch.tensor([0.3, 1.0, -0.5, 0.1, -2.0], dtype=torch.float64, requires_grad=True)
    prior = torch.tensor([0.1, 0.1, 0.2, 0.3, 0.3], dtype=torch.float64)
    mixture = 0.75 * logits.detach().softmax(0) + 0.25 * prior
    rows = torch.multinomial(mixture, 200_000, replacement=True, generator=g)
    group, zeros = torch.zeros_like(rows), torch.zeros(len(rows))
    loss = forward_kl(log_r[rows], logits.log_softmax(0)[rows], zeros, mixture.log()[rows], group)
    target = log_r.softmax(0)
    exact = 2 * (logits.softmax(0) - target).detach()
    torch.testing.assert_close(gradient(loss, logits), exact, atol=0.01, rtol=0)
