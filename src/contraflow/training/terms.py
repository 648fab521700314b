"""How many terms the two parts of a step's loss are means of, by which ranks are weighted.

An objective is a mean over questions, over pairs of questions, or over facts; the forward KL is a
mean over sets of questions. N ranks on N shards take the step of one process where each part of
each rank has its share of the terms of that part:

    loss = (1 - s) · Σ_r (o_r / o) objective_r + s · Σ_r (k_r / k) forward_kl_r

for ranks r with o_r and k_r terms, of o and k. Gradients are added up once, with the share of the
part that has no other: o_r / o, or k_r / k where s = 1. In a step with both, the forward KL of a
rank is multiplied by the quotient of its two shares before the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """The numbers of terms of objective and forward KL, of one rank or of all ranks."""

    objective: int
    forward_kl: int

    def forward_kl_factor(self, whole: Terms) -> float:
        """Return the quotient of the two shares that a rank has of the terms of all ranks.

        Without a term of the objective no fact of the rank has two questions to compare, and its
        forward KL is 0 as well.
        """
        if self.objective == 0:
            return 0.0
        return (self.forward_kl * whole.objective) / (whole.forward_kl * self.objective)
