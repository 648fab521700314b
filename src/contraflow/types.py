"""The data types between a fact and a gradient.

Shapes: `b` questions, `t` question tokens (right-padded, without the stop). One log-reward per
question (`TerminalReward`) and one per prefix (`PrefixReward`) are different types: using the first
in place of the second makes the reward cancel out of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def as_mask(lengths: Int[Tensor, " b"], width: int) -> Bool[Tensor, "b w"]:
    """Return a mask that is True on the first `lengths` of `width` positions of each row."""
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


@dataclass(frozen=True)
class Questions:
    """Token ids of b questions; the stop action after the last token of each is implicit."""

    ids: Int[Tensor, "b t"]
    lengths: Int[Tensor, " b"]

    @property
    def mask(self) -> Bool[Tensor, "b t"]:
        """True on real tokens."""
        return as_mask(self.lengths, self.ids.shape[1])


@dataclass(frozen=True)
class PathLogProbs:
    """Outputs of a policy along each path s_0 … s_L; entries beyond a question's length are 0.

    log_pf: log P_F(y_{k+1} | s_k).
    log_pterm: log P_F(stop | s_k); -inf where stopping is not allowed.
    log_flow: output of the flow head at s_k; 0 without a flow head.
    """

    log_pf: Float[Tensor, "b t"]
    log_pterm: Float[Tensor, "b t+1"]
    log_flow: Float[Tensor, "b t+1"]
    lengths: Int[Tensor, " b"]

    @property
    def log_p_stop(self) -> Float[Tensor, " b"]:
        """log P_F(stop | s_L), the last factor of every path."""
        return self.log_pterm.gather(1, self.lengths[:, None]).squeeze(1)

    @property
    def log_p_question(self) -> Float[Tensor, " b"]:
        """Log-probability of the whole question, including the stop."""
        return self.log_pf.sum(1) + self.log_p_stop


# log R of a zero reward: far below any other, but its square and gradient are finite in float32.
LOG_ZERO = -1e4


@dataclass(frozen=True)
class TerminalReward:
    """One log R per complete question, at least LOG_ZERO."""

    log_reward: Float[Tensor, " b"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_reward", self.log_reward.clamp(min=LOG_ZERO))


@dataclass(frozen=True)
class PrefixReward:
    """One log R per prefix s_0 … s_L, each closed with the stop and judged as a question of its
    own. At least LOG_ZERO.
    """

    log_reward: Float[Tensor, "b t+1"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_reward", self.log_reward.clamp(min=LOG_ZERO))


class ScoredQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question with its raw reward parts, in nats.

    The parts are neither tempered nor penalized, so that every reward schedule can use them later.

    log_entailment: log-probability that the fact's original_fact entails the answer; 0 without one.
    log_prior: log-probability of each token and of the stop (length L + 1) under the frozen base
        model, with the constraints of the policy; the sum is log P_Q.
    question_ok: result of the text checks (well-formed, on the subject, names neither answer).
    step: optimizer step of the sampler that generated the question.
    sampler: hash of the settings of that sampler, or "seeded".
    fact_hash: hash of the fact's fields; empty in entries of versions that stored no hash.
    """

    fact_id: str
    fact_hash: str = ""
    question_ids: tuple[int, ...]
    question: str
    answer: str
    log_contradiction: float
    log_p_answer: float
    log_entailment: float = 0.0
    log_prior: tuple[float, ...]
    question_ok: bool = True
    step: int = 0
    sampler: str = ""

    @property
    def fact_key(self) -> str:
        """`Fact.key` of the fact; its fact_id alone where no hash was stored."""
        return f"{self.fact_id}#{self.fact_hash}" if self.fact_hash else self.fact_id

    @property
    def log_p_question(self) -> float:
        """log P_Q: log-likelihood of question and stop given the task prompt, by the base model."""
        return float(sum(self.log_prior))


@dataclass(frozen=True)
class Answer:
    """An oracle's answer and log P_A, the log-likelihood of its tokens and of the end, in nats.

    log_p is NaN where a served model does not say it.
    """

    text: str
    log_p: float


class Oracle(Protocol):
    """The interface of a model that answers questions, local or remote.

    identity: hash or name that changes with the answers; a part of the keys of replayed rewards.
    """

    identity: str

    def answer(self, questions: Sequence[str]) -> list[Answer]: ...


AskStyle = Literal["few_shot", "bare", "chat", "completion"]
"""How a question is put to a model: behind examples, alone, as a user's turn, or as a text to be
continued.
"""


@dataclass(frozen=True)
class Forced:
    """A target read behind a prompt, token by token, as editors score their edits.

    log_p: log-likelihood of the target's tokens, in nats.
    n_matches: how many of its n_tokens are the model's most likely token.
    """

    log_p: float
    n_matches: int
    n_tokens: int


class Answerer(Protocol):
    """A model that can be asked in several styles: a folder, an adapter, a delta or a server.

    name: for people. identity: content, so that the answers of two models are never confused.
    """

    name: str
    identity: str

    def oracle(self, style: AskStyle) -> Oracle:
        """The model asked in one style; the same object each time. Raises: UserError."""
        ...

    def forced(self, prompts: Sequence[str], targets: Sequence[str]) -> list[Forced] | None:
        """Read targets behind prompts; None where the model gives no token probabilities."""
        ...
