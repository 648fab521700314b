"""Flow heads: log F(s) of a state from its hidden state, and log Z(f) = log F(s_0) of a fact."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class FlowHead(nn.Module):
    """LayerNorm and an MLP with one hidden layer; returns one number per state.

    The last layer starts at zero, so log F(s) = 0 for every state at the start.
    """

    def __init__(self, hidden_size: int, width: int = 128) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.inner = nn.Linear(hidden_size, width)
        self.outer = nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, hidden: Float[Tensor, "*s d"]) -> Float[Tensor, "*s"]:
        activation = nn.functional.gelu(self.inner(self.norm(hidden.float())))
        out: Tensor = self.outer(activation).squeeze(-1)
        return out


class StateFlow(nn.Module):
    """One head for log Z(f), at the end of the prompt, and one head for all later states.

    The two have separate learning rates: log Z(f) is one number per fact that sums over all
    questions, while there are many inner flows, which differ by nats from one token to the next.

    The heads are not in PEFT's ``modules_to_save``: disabling the adapter would also restore their
    untrained originals.
    """

    def __init__(self, hidden_size: int, width: int = 128) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.width = width
        self.log_z = FlowHead(hidden_size, width)
        self.inner = FlowHead(hidden_size, width)

    def forward(self, hidden: Float[Tensor, "m d"], step: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        """Return log F of m states; ``step`` is the number of question tokens written at each."""
        return torch.where(step == 0, self.log_z(hidden), self.inner(hidden))
