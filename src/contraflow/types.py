"""The values that travel along the path from a fact to a gradient.

Shapes: ``b`` questions, ``t`` question tokens (right-padded, the stop not among them), ``v``
vocabulary. Wrong states are meant to be untypable: one log-reward per question (`TerminalReward`)
and one per prefix (`PrefixReward`) are different types, because feeding the first where the second
is needed made the reward cancel out of the loss in the design we come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def as_mask(lengths: Int[Tensor, " b"], width: int) -> Bool[Tensor, "b w"]:
    """True on the first ``lengths`` positions of each row."""
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


@dataclass(frozen=True)
class Questions:
    """Token ids of b questions; the stop action is implied after the last token of each."""

    ids: Int[Tensor, "b t"]
    lengths: Int[Tensor, " b"]

    @property
    def mask(self) -> Bool[Tensor, "b t"]:
        """True on real tokens."""
        return as_mask(self.lengths, self.ids.shape[1])


@dataclass(frozen=True)
class PathLogProbs:
    """What one policy says along each path s_0 … s_L. Entries beyond a question's length are 0."""

    log_pf: Float[Tensor, "b t"]  # log P_F(y_{k+1} | s_k)
    log_pterm: Float[Tensor, "b t+1"]  # log P_F(stop | s_k); -inf where stop is not an action
    log_flow: Float[Tensor, "b t+1"]  # what the flow head says at s_k; 0 where there is no head
    lengths: Int[Tensor, " b"]

    @property
    def log_p_stop(self) -> Float[Tensor, " b"]:
        """log P_F(stop | s_L), the last factor of every path."""
        return self.log_pterm.gather(1, self.lengths[:, None]).squeeze(1)

    @property
    def log_p_question(self) -> Float[Tensor, " b"]:
        """Log-probability of the whole question, its stop included."""
        return self.log_pf.sum(1) + self.log_p_stop


@dataclass(frozen=True)
class TerminalReward:
    """One log R per finished question."""

    log_reward: Float[Tensor, " b"]


@dataclass(frozen=True)
class PrefixReward:
    """One log R per prefix s_0 … s_L, each closed with the stop and judged as a question of its
    own.
    """

    log_reward: Float[Tensor, "b t+1"]


class ScoredQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question with its raw reward parts: untempered, unpenalized, so that any schedule can use
    it later.

    ``log_prior`` holds the frozen base model's log-probability of each token and, last, of the stop
    (length L + 1), under the same constraints as the policy; its sum is log P_Q.
    """

    fact_id: str
    question_ids: tuple[int, ...]
    question: str
    answer: str
    log_contradiction: float
    log_p_answer: float
    log_entailment: float = 0.0  # answer from the fact's original_fact; 0 where the fact has none
    log_prior: tuple[float, ...]
    question_ok: bool = (
        True  # well-formed, on the subject, names neither answer (text checks, no NLI)
    )
    step: int = 0  # optimizer step of the sampler that wrote it
    sampler: str = ""  # which sampler: a hash of its settings, or "seeded"

    @property
    def log_p_question(self) -> float:
        """log P_Q: the base model's log-likelihood of the question given the task prompt, stop
        included.
        """
        return float(sum(self.log_prior))


@dataclass(frozen=True)
class Answer:
    """What the oracle said, and log P_A: the log-likelihood of its tokens and of the end, in nats."""

    text: str
    log_p: float


class Oracle(Protocol):
    """Anything that answers questions: another engine or a remote model fits behind it."""

    identity: str

    def answer(self, questions: Sequence[str]) -> list[Answer]: ...
