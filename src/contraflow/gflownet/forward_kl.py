"""The forward KL to the target, on questions that are already paid for.

With w_i the share of question i under the distribution that was sampled, of density q, the target
and the policy restricted to the fact's questions are

    v_i ∝ w_i (R_i / q_i)^α        c_i ∝ w_i (P_F,i / q_i)^α

and the loss is 2 KL(v ‖ c) / α², whose gradient is −(2/α) Σ (v_i − c_i) ∇ log P_F,i: the
self-normalized importance weights of a weighted log-likelihood (reweighted wake-sleep, Bornschein
and Bengio 2015), minus those of E_{P_F}[∇ log P_F] = 0 as control variate.

Properties:
1. v = c where P_F ∝ R, for any questions and any w and q: at the optimum the gradient has no
   variance, and neither few questions nor α < 1 shifts it.
2. α = 1 and many questions: the gradient of 2 KL(R/Z ‖ P_F). Few questions bias it towards the ones
   that were sampled (self-normalization), as in every such estimate.
3. On policy, c_i = 1/n and this is VarGrad's gradient with the linex penalty of that α. As α → 0 it
   becomes VarGrad's with squares; so near the optimum it has VarGrad's scale. With α < 1 it is an
   α-divergence, and its weights are flatter.
4. |v_i − c_i| ≤ 1: unlike a squared residual, no question dominates by its size.

Questions from replay are a chosen set, not a sample: they get w = q = 1, and the target is
normalized over the set.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.gflownet.groups import group_log_softmax, n_facts


def forward_kl(
    log_reward: Float[Tensor, " b"],
    log_pf: Float[Tensor, " b"],
    log_weight: Float[Tensor, " b"],
    log_q: Float[Tensor, " b"],
    group: Int[Tensor, " b"],
    power: float = 1.0,
) -> Float[Tensor, ""]:
    """Return 2 KL(v ‖ c) / α², mean over facts; differentiable in ``log_pf`` only.

    Args:
        log_reward: log R of each question, in nats.
        log_pf: log P_F of each question, its stop included, in nats.
        log_weight: log of the share of each question under the distribution that was sampled.
        log_q: log-density of that distribution.
        group: the fact of each question.
        power: the exponent α of the weights, in (0, 1].
    """
    target, restricted = restricted_log_shares(log_reward, log_pf, log_weight, log_q, group, power)
    share = target.exp()
    # 0 · log 0 = 0: a share that underflows has no cost.
    cost = torch.where(share > 0, share * (target - restricted), 0.0)
    return 2 * cost.sum() / (power**2 * n_facts(group))


def restricted_log_shares(
    log_reward: Float[Tensor, " b"],
    log_pf: Float[Tensor, " b"],
    log_weight: Float[Tensor, " b"],
    log_q: Float[Tensor, " b"],
    group: Int[Tensor, " b"],
    power: float,
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Return log v (without gradient) and log c of each question."""
    log_reward = log_reward.detach().float()
    log_w = log_weight.detach().float()
    log_q = log_q.detach().float()
    target = group_log_softmax(log_w + power * (log_reward - log_q), group)
    restricted = group_log_softmax(log_w + power * (log_pf.float() - log_q), group)
    return target, restricted
