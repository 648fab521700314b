"""One vector u of potentials per path: balance holds exactly when u is constant along every path.

Pure functions on tensors; independent of model, tokenizer and config. Shapes: b questions of at
most t tokens; n potentials per path. L is the length of a question. With v_t = log F(s_t) and one
terminal reward, n = t + 2 and

    u_t     = v_t − Σ_{k<t} log P_F(y_{k+1} | s_k)                        t = 0 … L
    u_{L+1} = log R − Σ_{k<L} log P_F(y_{k+1} | s_k) − log P_F(stop | s_L)

States form a tree, so P_B = 1, and the residual of the sub-path (i, j) is u_j − u_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from contraflow.types import PathLogProbs, PrefixReward, TerminalReward, as_mask


@dataclass(frozen=True)
class TokenTerms:
    """Log-probabilities of each action, for objectives that act on tokens; the stop is the last.

    Entries beyond the stop are 0.

    log_pf: of the policy, differentiable. log_prior: of the frozen base model.
    score: the reward without its prior term, log R − (w / T) log P_Q, in nats.
    """

    log_pf: Float[Tensor, "b a"]
    log_prior: Float[Tensor, "b a"]
    mask: Bool[Tensor, "b a"]
    score: Float[Tensor, " b"]


@dataclass(frozen=True)
class Potentials:
    """The vector u of each path, in nats; masked entries are 0."""

    u: Float[Tensor, "b n"]
    u_flow: Float[Tensor, "b n"]  # the same values, differentiable in log F only, not in log P_F
    mask: Bool[Tensor, "b n"]
    last: Int[Tensor, " b"]  # index of the last potential: L + 1, or L without a terminal node
    tokens: TokenTerms | None = None  # only for an objective with `needs_tokens`

    @property
    def terminal(self) -> Float[Tensor, " b"]:
        """The last potential; u_{L+1} = log R − log P_F(question) with a terminal reward."""
        return self.u.gather(1, self.last[:, None]).squeeze(1)


def potentials(
    paths: PathLogProbs,
    reward: TerminalReward,
    log_flow_prior: Float[Tensor, "b t+1"] | None = None,
) -> Potentials:
    """Return the potentials of paths with one terminal reward each, in float32; float64 stays.

    Args:
        log_flow_prior: for forward-looking flows, the term that log_flow corrects; added to it.
    Raises: TypeError for a reward that is not terminal; ValueError for a shape that does not fit.
    """
    if not isinstance(reward, TerminalReward):
        raise TypeError(f"this objective needs a TerminalReward, got {type(reward).__name__}")
    b, t = paths.log_pf.shape
    if reward.log_reward.shape != (b,):
        raise ValueError(f"log_reward has shape {tuple(reward.log_reward.shape)}, expected ({b},)")
    if log_flow_prior is not None and log_flow_prior.shape != paths.log_flow.shape:
        raise ValueError(
            f"log_flow_prior has shape {tuple(log_flow_prior.shape)}, "
            f"expected {tuple(paths.log_flow.shape)}"
        )
    cumulative = _cumulative_log_pf(paths)
    flow = _wide(paths.log_flow)
    if log_flow_prior is not None:
        flow = flow + log_flow_prior
    last = paths.lengths + 1
    columns = torch.arange(t + 2, device=last.device)
    at_end = columns[None, :] == last[:, None]
    terminal = (_wide(reward.log_reward) - _wide(paths.log_p_question))[:, None]
    on_path = as_mask(last, t + 1)
    inner = functional.pad((flow - cumulative) * on_path, (0, 1))
    inner_flow = functional.pad((flow - cumulative.detach()) * on_path, (0, 1))
    return Potentials(
        u=torch.where(at_end, terminal, inner),
        u_flow=torch.where(at_end, terminal.detach(), inner_flow),
        mask=as_mask(last + 1, t + 2),
        last=last,
    )


def _cumulative_log_pf(paths: PathLogProbs) -> Float[Tensor, "b t+1"]:
    """Σ_{k<t} log P_F(y_{k+1} | s_k) for t = 0 … L."""
    b = len(paths.log_pf)
    return _wide(torch.cat([paths.log_pf.new_zeros(b, 1), paths.log_pf], 1)).cumsum(1)


def _wide(values: Tensor) -> Tensor:
    """The values in float32; those in float64 stay in it."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def prefix_potentials(paths: PathLogProbs, reward: PrefixReward) -> Potentials:
    """Return the potentials of paths whose prefixes each have a reward, in float32 or float64.

    Every prefix that may stop is a question s_t⊤. Its flow is known,
    F(s_t) = R(s_t⊤) / P_F(stop | s_t) (Deleu et al. 2022; Hu et al. 2024), so

        u_t = log R(s_t⊤) − log P_F(stop | s_t) − Σ_{k<t} log P_F(y_{k+1} | s_k)      t ≤ L

    wherever stop is an action, and there is no terminal node. Prefixes below the minimum length are
    masked, whatever their reward.

    Raises: TypeError for a reward that is not per prefix; ValueError for a shape that does not fit,
        or a path none of whose prefixes may stop.
    """
    if not isinstance(reward, PrefixReward):
        raise TypeError(f"this objective needs a PrefixReward, got {type(reward).__name__}")
    b, t = paths.log_pf.shape
    if reward.log_reward.shape != (b, t + 1):
        raise ValueError(
            f"log_reward has shape {tuple(reward.log_reward.shape)}, expected ({b}, {t + 1})"
        )
    closable = as_mask(paths.lengths + 1, t + 1) & paths.log_pterm.isfinite()
    if not bool(closable.any(1).all()):
        raise ValueError("a path has no prefix at which stop is an action")
    # −∞ is replaced before the subtraction: the gradient of a masked −∞ would be NaN.
    log_stop = _wide(paths.log_pterm).masked_fill(~closable, 0.0)
    log_flow = _wide(reward.log_reward) - log_stop
    u = (log_flow - _cumulative_log_pf(paths)).masked_fill(~closable, 0.0)
    return Potentials(u, u.detach(), closable, paths.lengths)
