"""The state flow: a small head that says log F(s) from the policy's hidden state."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class FlowHead(nn.Module):
    """LayerNorm, one hidden layer, one number. The last layer starts at zero: log F(s) = 0 everywhere.

    It lives beside the PEFT model, not in ``modules_to_save``: switching the adapter off would switch the head
    back to its untrained original too.
    """

    def __init__(self, hidden_size: int, width: int = 128) -> None:
        super().__init__()
        self.hidden_size, self.width = hidden_size, width
        self.norm = nn.LayerNorm(hidden_size)
        self.inner = nn.Linear(hidden_size, width)
        self.outer = nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, hidden: Float[Tensor, "*s d"]) -> Float[Tensor, "*s"]:
        out: Tensor = self.outer(nn.functional.gelu(self.inner(self.norm(hidden.float())))).squeeze(-1)
        return out
