"""Losses that ask for the density which a question was drawn with, on draws of an older policy.

Four questions of one token about one fact: every draw can be enumerated, so means are exact.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from contraflow.experience.collect import Batch
from contraflow.experience.density import RATIO_LIMIT, DrawnBatch, ratio_metrics, ratio_weight
from contraflow.gflownet.objectives import VarGrad, potentials
from contraflow.gflownet.policy_gradient import Grpo, Rloo
from contraflow.reward.ramps import LinearSchedule
from contraflow.training.loss import StepLoss, token_terms
from contraflow.types import PathLogProbs, TerminalReward
from support.actors import FACT, question

LOGITS = torch.tensor([0.3, -0.2, 0.5, 0.0])
LOG_P = LOGITS.log_softmax(0)
LOG_Q = torch.tensor([-0.4, 0.3, 0.1, 0.6]).log_softmax(0)
LOG_R = torch.tensor([-1.0, -3.0, 0.5, -2.0])
ALL = tuple(range(4))
FORWARD = LinearSchedule(1.0, 1.0, 1)


def batch_of(rows: tuple[int, ...], weights: Tensor | None = None, n_replayed: int = 0) -> Batch:
    return Batch(
        (FACT,),
        tuple(question(ids=(row,)) for row in rows),
        (1,) * len(rows),
        1.0,
        n_replayed,
        "cpu",
        None if weights is None else tuple(weights.tolist()),
        weighs_loss=weights is not None,
    )


def drawn(rows: tuple[int, ...], weights: Tensor | None = None) -> DrawnBatch:
    return DrawnBatch.of(batch_of(rows, weights), tuple(LOG_Q[list(rows)].tolist()))


def loss_and_gradient(loss: StepLoss, batch: Batch) -> tuple[float, Tensor]:
    """Return the loss of a batch at the current policy, and its gradient to the logits."""
    logits = LOGITS.clone().requires_grad_()
    rows = [s.question_ids[0] for s in batch.scored]
    n = len(rows)
    log_pterm = torch.tensor([[-math.inf, 0.0]] * n)
    taken = logits.log_softmax(0)[rows][:, None]
    paths = PathLogProbs(taken, log_pterm, torch.zeros(n, 2), torch.ones(n, dtype=torch.long))
    reward = TerminalReward(LOG_R[rows])
    u = potentials(paths, reward)
    if loss.objective.needs_tokens:
        u = replace(u, tokens=token_terms(batch, reward, paths, 0.0, 0.0))
    value = loss(batch, reward, paths, u, None, 0)  # type: ignore[arg-type]
    return float(value.detach()), torch.autograd.grad(value, logits)[0]


def mean_over_pairs(kind: type[DrawnBatch] | type[Batch]) -> Tensor:
    """Return the mean RLOO gradient over all pairs of draws of q."""
    total = torch.zeros(4)
    for pair in itertools.product(ALL, repeat=2):
        batch = drawn(pair) if kind is DrawnBatch else batch_of(pair)
        chance = LOG_Q[list(pair)].sum().exp()
        total += chance * loss_and_gradient(StepLoss(Rloo()), batch)[1]
    return total


def test_ratios_make_rloo_unbiased_for_draws_of_an_older_policy():
    """The gradient of KL(P_F ‖ R/Z), half of it with two draws: a draw is no pair with itself."""
    logits = LOGITS.clone().requires_grad_()
    log_p = logits.log_softmax(0)
    kl = (log_p.exp() * (log_p - LOG_R)).sum()
    exact = torch.autograd.grad(kl, logits)[0]
    torch.testing.assert_close(mean_over_pairs(DrawnBatch), exact / 2)
    # Without ratios it is another gradient, that of VarGrad under q.
    assert (mean_over_pairs(Batch) - exact).abs().max() > 0.05


def test_ratios_give_grpo_the_mean_over_the_current_policy():
    """All questions with the shares of q, and with those of P_F: one gradient."""
    loss = StepLoss(Grpo(beta=0.3))
    stale = loss_and_gradient(loss, drawn(ALL, LOG_Q.exp()))[1]
    current = loss_and_gradient(loss, batch_of(ALL, LOG_P.exp()))[1]
    torch.testing.assert_close(stale, current)
    uncorrected = loss_and_gradient(loss, batch_of(ALL, LOG_Q.exp()))[1]
    assert (uncorrected - current).abs().max() > 0.01


@pytest.mark.parametrize("objective", [Rloo(), Grpo(beta=0.3)], ids=["rloo", "grpo"])
def test_draws_of_the_current_policy_have_the_usual_direction(objective: Rloo | Grpo):
    """Ratios of 1 leave GRPO as it is, and RLOO but for the factor 2/3 of three draws."""
    rows = (0, 2, 3)
    current = DrawnBatch.of(batch_of(rows), tuple(LOG_P[list(rows)].tolist()))
    factor = 2 / 3 if isinstance(objective, Rloo) else 1.0
    _, got = loss_and_gradient(StepLoss(objective), current)
    _, usual = loss_and_gradient(StepLoss(objective), batch_of(rows))
    torch.testing.assert_close(got, factor * usual)


def test_ratios_count_draws_where_equal_ones_share_a_row():
    """Over all pairs of draws of q, with one row and its count for equal ones: E_P[h] exactly."""
    h = torch.tensor([2.0, -1.0, 0.5, 3.0])
    estimate = 0.0
    for pair in itertools.product(ALL, repeat=2):
        rows = tuple(dict.fromkeys(pair))
        counts = tuple(pair.count(row) for row in rows)
        weight = ratio_weight(replace(drawn(rows), counts=counts), LOG_P[list(rows)])
        estimate += float(LOG_Q[list(pair)].sum().exp() * (weight * h[list(rows)]).sum())
    assert estimate == pytest.approx(float(LOG_P.exp() @ h), rel=1e-5)


@pytest.mark.parametrize("rows_of", ["shares", "repeats"])
def test_the_forward_kl_of_stale_draws_is_that_to_the_target(rows_of: str):
    """All questions with their shares of q: 2 KL(R/Z ‖ P_F), whatever q is."""
    batch = drawn(ALL, LOG_Q.exp())
    if rows_of == "repeats":  # shares from counts, as two batches of one fact would give them
        batch = drawn((*ALL, *ALL), 0.5 * LOG_Q.exp().repeat(2))
    target = LOG_R.log_softmax(0)
    exact = 2 * float((target.exp() * (target - LOG_P)).sum())
    value, gradient = loss_and_gradient(StepLoss(VarGrad(), FORWARD), batch)
    assert value == pytest.approx(exact, rel=1e-5)
    torch.testing.assert_close(gradient, 2 * (LOG_P.exp() - target.exp()))


def test_stored_questions_beside_drawn_ones_are_their_own_set():
    """The mean of both forward KLs; the stored ones' is restricted to them."""
    loss = StepLoss(VarGrad(), FORWARD)
    fresh = drawn(ALL, LOG_Q.exp())
    stored = batch_of((1, 2), n_replayed=2)
    both = DrawnBatch.of(
        batch_of((*ALL, 1, 2), torch.cat([LOG_Q.exp(), torch.tensor([0.5, 0.5])]), n_replayed=2),
        (*fresh.log_q, None, None),
    )
    parts = [loss_and_gradient(loss, part) for part in (fresh, stored)]
    value, gradient = loss_and_gradient(loss, both)
    assert value == pytest.approx(sum(part[0] for part in parts) / 2)
    torch.testing.assert_close(gradient, (parts[0][1] + parts[1][1]) / 2)


def test_a_ratio_is_cut_at_its_limit():
    log_q = (-20.0, float(LOG_P[1]), float(LOG_P[2]) - 1.0)
    batch = DrawnBatch.of(batch_of((0, 1, 2)), log_q)
    weight = ratio_weight(batch, LOG_P[:3])
    assert weight.tolist() == pytest.approx([RATIO_LIMIT / 3, 1 / 3, math.e / 3])
    found = ratio_metrics(batch, LOG_P[:3].numpy())
    assert found["ratio_cut"] == pytest.approx(1 / 3)
    assert found["ratio_ess"] == pytest.approx(1 / 3, abs=1e-4)  # one question has all the weight


def test_equal_densities_have_a_full_effective_share():
    found = ratio_metrics(drawn(ALL), LOG_Q.numpy())
    assert found == {"ratio_ess": pytest.approx(1.0), "ratio_cut": 0.0}
    two = ratio_metrics(drawn((0, 1)), LOG_Q[:2].numpy() + np.log([3.0, 1.0]))
    assert two["ratio_ess"] == pytest.approx(4**2 / (2 * (9 + 1)))
    assert ratio_metrics(DrawnBatch.of(batch_of(ALL)), LOG_Q.numpy()) == {}


@pytest.mark.parametrize("loss", [StepLoss(VarGrad(), FORWARD), StepLoss(Rloo())], ids=str)
def test_a_loss_without_the_densities_it_asks_for_fails(loss: StepLoss):
    with pytest.raises(ValueError, match="4 questions came with 0 densities"):
        loss_and_gradient(loss, DrawnBatch.of(batch_of(ALL)))


def test_a_stored_question_has_no_ratio():
    batch = DrawnBatch.of(batch_of(ALL, n_replayed=1), (*LOG_Q[:3].tolist(), None))
    with pytest.raises(ValueError, match="no density, so no ratio"):
        ratio_weight(batch, LOG_P)
