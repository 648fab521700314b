"""RLOO and GRPO against numbers by hand, against VarGrad, and against one batch of TRL."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from contraflow.gflownet.objectives import VarGrad
from contraflow.gflownet.policy_gradient import Grpo, Rloo, leave_one_out, normalized
from contraflow.gflownet.potentials import Potentials, TokenTerms
from contraflow.types import as_mask

GROUP = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])


@pytest.fixture(scope="module")
def trl() -> dict[str, Any]:
    """Two prompts with four completions each, by TRL 1.16.0; made by `trl_numbers.py`."""
    batch: dict[str, Any] = json.loads(Path(__file__).with_name("trl_batch.json").read_text())
    return batch


def potentials_of(terminal: Tensor, tokens: TokenTerms | None = None) -> Potentials:
    """Return potentials whose last one is given."""
    u = torch.stack([torch.zeros_like(terminal), terminal], 1)
    ones = torch.ones(len(terminal), dtype=torch.long)
    return Potentials(u, u, torch.ones_like(u, dtype=torch.bool), ones, tokens)


def test_leave_one_out_by_hand():
    """Of 1, 2, 6: 1 − 4, 2 − 3.5, 6 − 1.5. A question alone in its fact has no others."""
    got = leave_one_out(torch.tensor([1.0, 9.0, 2.0, 6.0]), torch.tensor([0, 1, 0, 0]))
    assert got.tolist() == pytest.approx([-3.0, 0.0, -1.5, 4.5])


def test_leave_one_out_with_weights_by_hand():
    """Σ_j w_j (r_i − r_j) of 1, 2 with weights ½, ¼: ¼ (1 − 2) and ½ (2 − 1)."""
    got = leave_one_out(torch.tensor([1.0, 2.0]), torch.tensor([0, 0]), torch.tensor([0.5, 0.25]))
    assert got.tolist() == pytest.approx([-0.25, 0.5])


def test_normalized_rewards_by_hand():
    """Of 1, 2, 6: mean 3, variance (4 + 1 + 9) / 2 = 7."""
    got = normalized(torch.tensor([1.0, 9.0, 2.0, 6.0]), torch.tensor([0, 1, 0, 0]))
    assert got.tolist() == pytest.approx([-2 / 7**0.5, 0.0, -1 / 7**0.5, 3 / 7**0.5], rel=1e-3)


def test_grpo_by_hand():
    """Two questions of one token and the stop; rewards 1 and 3, so advantages ∓1 / √2.

    log P_Q − log P_F is log 2 at one token of the first question, 0 elsewhere: KL 2 − 1 − log 2,
    whose mean over its two actions is half of it, and over the questions a quarter.
    """
    log_pf = torch.full((2, 2), -1.0, requires_grad=True)
    log_prior = torch.tensor([[-1.0 + math.log(2), -1.0], [-1.0, -1.0]])
    mask = torch.ones(2, 2, dtype=torch.bool)
    tokens = TokenTerms(log_pf, log_prior, mask, torch.tensor([1.0, 3.0]))
    group = torch.tensor([0, 0])
    loss = Grpo(beta=0.4)(potentials_of(torch.zeros(2), tokens), group)
    assert float(loss.detach()) == pytest.approx(0.4 * (1 - math.log(2)) / 4, rel=1e-4)
    (grad,) = torch.autograd.grad(loss, log_pf)
    # −A/4 of each action, and −x = −log 2 times 0.4/4 at the one token.
    a = 2**-0.5 / 4
    expected = [[a - 0.1 * math.log(2), a], [-a, -a]]
    torch.testing.assert_close(grad, torch.tensor(expected), rtol=1e-3, atol=0)


def test_grpo_without_its_tokens_is_refused():
    with pytest.raises(ValueError, match=r"needs Potentials\.tokens"):
        Grpo()(potentials_of(torch.zeros(2)), torch.tensor([0, 0]))


def test_rloo_is_half_of_vargrad_with_the_unbiased_variance():
    g = torch.Generator().manual_seed(0)
    u = torch.randn(8, generator=g, requires_grad=True)
    (rloo,) = torch.autograd.grad(Rloo()(potentials_of(u), GROUP), u)
    (vargrad,) = torch.autograd.grad(VarGrad()(potentials_of(u), GROUP), u)
    torch.testing.assert_close(rloo, vargrad / 2 * 4 / 3)


def test_the_expected_gradient_of_rloo_is_the_reverse_kl():
    """All questions with weights P_F: the gradient of KL(P_F ‖ R/Z) by enumeration."""
    log_r = torch.tensor([0.5, -1.0, 2.0, -3.0], dtype=torch.float64)
    logits = torch.tensor([0.3, 1.0, -0.5, 0.1], dtype=torch.float64, requires_grad=True)
    log_p = logits.log_softmax(0)
    group = torch.zeros(4, dtype=torch.long)
    loss = Rloo()(potentials_of(log_r - log_p), group, log_p.detach().exp())
    kl = (log_p.exp() * (log_p - log_r.log_softmax(0))).sum()
    (grad,) = torch.autograd.grad(loss, logits, retain_graph=True)
    torch.testing.assert_close(grad, torch.autograd.grad(kl, logits)[0])


def test_rloo_has_the_advantages_and_gradient_of_trl(trl: dict[str, Any]):
    """TRL: r − β (log P_F − log P_ref). Ours with w = T = β: log R = r / β + log P_ref.

    So log R − log P_F is TRL's reward over β, and so are advantage and gradient.
    """
    beta = trl["rloo"]["beta"]
    log_pf = torch.tensor(trl["log_pf"], requires_grad=True)
    log_reward = torch.tensor(trl["rewards"]) / beta + torch.tensor(trl["log_ref"]).sum(1)
    u = log_reward - log_pf.sum(1)
    advantage = beta * leave_one_out(u.detach(), GROUP)
    torch.testing.assert_close(advantage, torch.tensor(trl["rloo"]["advantages"]))
    (grad,) = torch.autograd.grad(Rloo()(potentials_of(u), GROUP), log_pf)
    mask = as_mask(torch.tensor(trl["lengths"]), 4)
    torch.testing.assert_close(beta * grad * mask, torch.tensor(trl["rloo"]["grad"]))


def test_grpo_has_the_loss_and_gradient_of_trl(trl: dict[str, Any]):
    log_pf = torch.tensor(trl["log_pf"], requires_grad=True)
    mask = as_mask(torch.tensor(trl["lengths"]), 4)
    score = torch.tensor(trl["rewards"])
    torch.testing.assert_close(normalized(score, GROUP), torch.tensor(trl["grpo"]["advantages"]))
    tokens = TokenTerms(log_pf, torch.tensor(trl["log_ref"]), mask, score)
    loss = Grpo(trl["grpo"]["beta"])(potentials_of(torch.zeros(8), tokens), GROUP)
    assert float(loss.detach()) == pytest.approx(trl["grpo"]["loss"], rel=1e-5)
    (grad,) = torch.autograd.grad(loss, log_pf)
    torch.testing.assert_close(grad, torch.tensor(trl["grpo"]["grad"]))
