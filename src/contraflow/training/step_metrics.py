"""The logged metrics of a training step, computed in host memory.

Everything that a step's metrics need of the device is moved at once (`StepNumbers`): on a GPU each
read of a tensor waits for the device, and each small operation on one is a kernel. The rest is
known on the host, since scored questions are plain data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from contraflow.experience.collect import Batch
from contraflow.gflownet.diagnostics import health, log_z_gap, variance_within
from contraflow.gflownet.objectives import Potentials
from contraflow.text.verdict import strict_success
from contraflow.types import PathLogProbs, TerminalReward


@dataclass(frozen=True)
class StepNumbers:
    """What the policy and the loss say about b questions, in nats.

    log_ratio: the last potential; log R - log P_F with a terminal reward.
    log_z: log F(s_0) of each question's fact.
    """

    loss: float
    log_reward: Float[ndarray, " b"]
    log_pf: Float[ndarray, " b"]
    log_ratio: Float[ndarray, " b"]
    log_z: Float[ndarray, " b"]

    @classmethod
    def of(
        cls, loss: Float[Tensor, ""], reward: TerminalReward, paths: PathLogProbs, u: Potentials
    ) -> StepNumbers:
        """Move the five to the host in one copy."""
        of_questions = [reward.log_reward, paths.log_p_question, u.terminal, paths.log_flow[:, 0]]
        moved = torch.cat(
            [loss.detach().float()[None], *(x.detach().float() for x in of_questions)]
        )
        numbers = moved.cpu().numpy().astype(np.float64)
        log_reward, log_pf, log_ratio, log_z = numbers[1:].reshape(len(of_questions), -1)
        return cls(float(numbers[0]), log_reward, log_pf, log_ratio, log_z)


def step_metrics(
    batch: Batch, numbers: StepNumbers, step: int, rng: torch.Generator, *, uses_flow: bool
) -> dict[str, float]:
    """Return the metrics of a batch, by name, without those that are undefined for it.

    Means are over draws: a question that was sampled twice counts twice, a stored one beside new
    ones not at all.

    Args:
        rng: samples the subsets of `subset_distance`.
        uses_flow: whether the objective trains log Z(f).
    """
    draws = batch.draws
    owners = np.array(batch.owners)[draws]
    metrics = {
        "loss": numbers.loss,
        "log_reward": float(numbers.log_reward[draws].mean()),
        "log_pf": float(numbers.log_pf[draws].mean()),
        **_of_scored(batch, draws),
        "distinct": _n_distinct(batch) / len(draws),
        "var_log_ratio": variance_within(numbers.log_ratio[draws], owners),
        "pf_temp": batch.pf_temp,
        "replay_share": batch.n_replayed / len(batch.scored),
    }
    if uses_flow:
        log_w = (numbers.log_reward - numbers.log_pf)[draws]
        log_z = numbers.log_z[draws]
        metrics["log_z"] = float(log_z.mean())
        metrics["log_z_gap"] = log_z_gap(log_w, log_z, owners)
    if batch.n_replayed:
        replayed = batch.scored[-batch.n_replayed :]
        metrics["staleness"] = step - float(np.mean([s.step for s in replayed]))
    questions = [batch.scored[row].question_ids for row in draws]
    found = health(numbers.log_reward[draws], numbers.log_pf[draws], owners, questions, rng)
    return metrics | {k: v for k, v in found.as_dict().items() if math.isfinite(v)}


def _n_distinct(batch: Batch) -> int:
    """How many different questions were drawn."""
    return len({(batch.scored[i].fact_key, batch.scored[i].question) for i in batch.draws})


def _of_scored(batch: Batch, draws: np.ndarray) -> dict[str, float]:
    """Means of what is known of each scored question without the policy."""
    values = {
        "log_contradiction": [s.log_contradiction for s in batch.scored],
        "log_p_question": [s.log_p_question for s in batch.scored],
        "log_p_answer": [s.log_p_answer for s in batch.scored],
        "log_entailment": [s.log_entailment for s in batch.scored],
        "question_ok": [s.question_ok for s in batch.scored],
        "question_tokens": [len(s.question_ids) for s in batch.scored],
    }
    means = {name: float(np.array(rows)[draws].mean()) for name, rows in values.items()}
    return means | _strict_success(batch, draws)


def _strict_success(batch: Batch, draws: np.ndarray) -> dict[str, float]:
    """The rate over the facts whose original answer is known, as in the evaluation."""
    asked = [(batch.facts[batch.owners[row]], batch.scored[row]) for row in draws]
    successes = [
        strict_success(
            s.question, s.answer, f.subject, f.original_answer, f.edited_answer, f.aliases
        )
        for f, s in asked
        if f.original_answer
    ]
    return {"strict_success": float(np.mean(successes))} if successes else {}
