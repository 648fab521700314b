"""A judge and an objective that a caller might give, with numbers that can be written down."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.gflownet.objectives import MeanOverQuestions, Potentials, Weight
from contraflow.reward.judge.scores import NliScores

LOG_HALF = -0.6931472


class Half:
    """log C = log ½ for every answer; counts the pairs."""

    def __init__(self, identity: str = "half-1") -> None:
        self.identity = identity
        self.n = 0

    def score(self, premises: Sequence[str], _hypotheses: Sequence[str]) -> NliScores:
        self.n += len(premises)
        return NliScores(torch.tensor([[0.25, 0.25, 0.5]] * len(premises)).log())


class Absolute(MeanOverQuestions):
    """The mean absolute difference of log R − log P_F from the flow of the root."""

    uses_flow = True

    def __call__(
        self,
        potentials: Potentials,
        group: Int[Tensor, " b"],  # noqa: ARG002
        weight: Weight = None,  # noqa: ARG002
    ) -> Float[Tensor, ""]:
        return (potentials.terminal - potentials.u[:, 0]).abs().mean()
