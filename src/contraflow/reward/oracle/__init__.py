"""Who answers questions: a frozen backbone, any other causal model, or a server."""

from contraflow.reward.oracle.frozen import FrozenLMOracle
from contraflow.reward.oracle.generating import GeneratingOracle

__all__ = ["FrozenLMOracle", "GeneratingOracle"]
