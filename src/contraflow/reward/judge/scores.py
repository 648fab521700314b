"""What every judge returns, and the interface that the reward sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

LABELS = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class NliScores:
    """Log-probabilities, columns in the order of LABELS whatever the checkpoint's own order is."""

    log_probs: Float[Tensor, "n 3"]

    @property
    def log_contradiction(self) -> Float[Tensor, " n"]:
        """The `log C` of the reward."""
        return self.log_probs[:, LABELS.index("contradiction")]

    @property
    def log_entailment(self) -> Float[Tensor, " n"]:
        """The `log E` of the reward, where the premise is the original fact."""
        return self.log_probs[:, LABELS.index("entailment")]


class Judge(Protocol):
    """Scores answers (hypotheses) against edit facts (premises)."""

    @property
    def identity(self) -> str:
        """A string that changes exactly when the scores could: the key of every cache of scores."""
        ...

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> NliScores:
        """One row a pair, in the order given."""
        ...
