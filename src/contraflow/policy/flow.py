"""The state flow: what the policy's hidden state says of log F(s), and of log Z(f) = log F(s_0)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class FlowHead(nn.Module):
    """LayerNorm, one hidden layer, one number. The last layer starts at zero: log F(s) = 0
    everywhere.
    """

    def __init__(self, hidden_size: int, width: int = 128) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.inner = nn.Linear(hidden_size, width)
        self.outer = nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, hidden: Float[Tensor, "*s d"]) -> Float[Tensor, "*s"]:
        out: Tensor = self.outer(nn.functional.gelu(self.inner(self.norm(hidden.float())))).squeeze(
            -1
        )
        return out


class StateFlow(nn.Module):
    """One head for log Z(f), read where the prompt ends, and one for the flow of every state after
    it.

    They learn at rates of their own: log Z(f) is one number a fact and sums over everything below
    it, inner flows are many and differ by nats from one token to the next.

    They live beside the PEFT model, not in ``modules_to_save``: switching the adapter off would
    switch the heads back to their untrained originals too.
    """

    def __init__(self, hidden_size: int, width: int = 128) -> None:
        super().__init__()
        self.hidden_size, self.width = hidden_size, width
        self.log_z = FlowHead(hidden_size, width)
        self.inner = FlowHead(hidden_size, width)

    def forward(self, hidden: Float[Tensor, "m d"], step: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        """log F of states that are ``step`` question tokens after their prompt."""
        return torch.where(step == 0, self.log_z(hidden), self.inner(hidden))
