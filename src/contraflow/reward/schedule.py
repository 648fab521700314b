"""Compute log R from raw reward parts, in one place and as late as possible.

Raw parts are stored untempered and unpenalized; a schedule reads them together with the optimizer
step. So a replayed question gets the reward of the phase that the run is in, not of the phase in
which the question was first scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from contraflow.errors import UserError
from contraflow.models.transfer import to_device
from contraflow.reward.ramps import LinearSchedule
from contraflow.settings.learning import RewardConfig
from contraflow.types import LOG_ZERO, ScoredQuestion, TerminalReward


@dataclass(frozen=True)
class RewardParts:
    """Raw reward parts of b questions: natural logarithms, and the result of the text checks."""

    log_contradiction: Float[Tensor, " b"]
    log_p_question: Float[Tensor, " b"]
    log_p_answer: Float[Tensor, " b"]
    log_entailment: Float[Tensor, " b"]
    question_ok: Bool[Tensor, " b"]

    @classmethod
    def of(
        cls, scored: Sequence[ScoredQuestion], device: torch.device | None = None
    ) -> RewardParts:
        """Stack the parts of scored questions.

        Raises: UserError naming fact and question when a part is NaN or infinite.
        """
        for s in scored:
            _refuse_non_finite(s)
        numbers = [
            [s.log_contradiction for s in scored],
            [s.log_p_question for s in scored],
            [s.log_p_answer for s in scored],
            [s.log_entailment for s in scored],
            [float(s.question_ok) for s in scored],
        ]
        # One copy: each copy may wait for a GPU.
        log_c, log_p_question, log_p_answer, log_e, ok = to_device(torch.tensor(numbers), device)
        return cls(log_c, log_p_question, log_p_answer, log_e, ok > 0)


def priorities(reward: RewardSchedule, scored: Sequence[ScoredQuestion]) -> list[float]:
    """Return the priority in replay of each scored question, at least LOG_ZERO.

    Raises: UserError naming fact and question when a part is NaN or infinite.
    """
    found: list[float] = reward.priority(RewardParts.of(scored)).clamp(min=LOG_ZERO).tolist()
    return found


def _refuse_non_finite(scored: ScoredQuestion) -> None:
    for name in ("log_contradiction", "log_p_question", "log_p_answer", "log_entailment"):
        value = getattr(scored, name)
        if not math.isfinite(value):
            raise UserError(
                f"{name} is {value} for fact {scored.fact_id}, question {scored.question!r} "
                f"(answer {scored.answer!r}). Check the judge and the oracle on this pair with "
                "`contraflow judge`; a training run resumes from its last checkpoint"
            )


@dataclass
class RewardSchedule(RewardConfig):
    """log R at an optimizer step, by the settings ``reward.*``.

    ``kind``: static (composite only), penalized, or hybrid (penalized, then composite).

    Penalized phase: log P_Q, plus ``failure_penalty`` where log C ≤ ``contradiction_threshold``.
    Composite phase: log C + ``likelihood_weight`` · log P_Q + ``answer_quality_weight`` · log P_A
    + ``entailment_weight`` · log E, where E is the judge's probability that the answer states the
    original fact.
    Both phases add ``answer_failure_penalty`` where log P_A < ``answer_quality_threshold``, and
    ``question_failure_penalty`` where the question fails the text checks (malformed, off the
    subject, names an answer). The sum is divided by the reward temperature.

    log P_Q is clamped at ``likelihood_ceiling``: among questions that are natural enough, the most
    common one is not better than the others.
    """

    def in_penalized_phase(self, step: int) -> bool:
        """Whether the penalized formula applies at this optimizer step."""
        if self.kind == "hybrid":
            return step < self.penalized_reward_end_step
        return self.kind == "penalized"

    @property
    def final_step(self) -> int:
        """First step from which the schedule is constant.

        Evaluation uses it, even for a run that was shorter.
        """
        penalized_end = self.penalized_reward_end_step if self.kind == "hybrid" else 0
        return max(penalized_end, self.reward_temp_horizon)

    def temperature(self, step: int) -> float:
        """Reward temperature at this step."""
        schedule = LinearSchedule(
            self.reward_temp_start, self.reward_temp_end, self.reward_temp_horizon
        )
        return schedule(step)

    def prior_weight(self, step: int) -> float:
        """d log R / d log P_Q: weight of the prefix log-likelihood in a forward-looking flow."""
        weight = 1.0 if self.in_penalized_phase(step) else self.likelihood_weight
        return weight / self.temperature(step)

    def __call__(self, parts: RewardParts, step: int) -> TerminalReward:
        """Tempered log R of each question at this step."""
        base = self._penalized(parts) if self.in_penalized_phase(step) else self._composite(parts)
        return TerminalReward((base + self._penalties(parts)) / self.temperature(step))

    def priority(self, parts: RewardParts) -> Float[Tensor, " b"]:
        """Priority in replay: the untempered composite log R, the same in every phase."""
        return self._composite(parts) + self._penalties(parts)

    def _penalized(self, parts: RewardParts) -> Float[Tensor, " b"]:
        failed = parts.log_contradiction <= self.contradiction_threshold
        return self._prior(parts) + failed * self.failure_penalty

    def _prior(self, parts: RewardParts) -> Float[Tensor, " b"]:
        return parts.log_p_question.clamp(max=self.likelihood_ceiling)

    def _composite(self, parts: RewardParts) -> Float[Tensor, " b"]:
        return (
            parts.log_contradiction
            + self.likelihood_weight * self._prior(parts)
            + self.answer_quality_weight * parts.log_p_answer
            + self.entailment_weight * parts.log_entailment
        )

    def _penalties(self, parts: RewardParts) -> Float[Tensor, " b"]:
        poor_answer = parts.log_p_answer < self.answer_quality_threshold
        return (
            poor_answer * self.answer_failure_penalty
            + ~parts.question_ok * self.question_failure_penalty
        )
