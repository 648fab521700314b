"""The interface of every judge, and the scores that it returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

LABELS = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class NliScores:
    """Log-probabilities; the columns are in the order of LABELS for every checkpoint."""

    log_probs: Float[Tensor, "n 3"]

    @property
    def log_contradiction(self) -> Float[Tensor, " n"]:
        """log C of the reward."""
        return self.log_probs[:, LABELS.index("contradiction")]

    @property
    def log_entailment(self) -> Float[Tensor, " n"]:
        """log E of the reward, where the premise is the original fact."""
        return self.log_probs[:, LABELS.index("entailment")]


class Judge(Protocol):
    """Scores answers (hypotheses) against edit facts (premises)."""

    @property
    def identity(self) -> str:
        """A string that changes whenever the scores could change; a key for cached scores."""
        ...

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> NliScores:
        """One row per pair, in the order given."""
        ...


@runtime_checkable
class LengthLimited(Protocol):
    """A judge that reads a limited number of tokens, and says which premises it would cut."""

    def cut_premises(
        self, premises: Sequence[str], hypotheses: Sequence[str] | None = None
    ) -> list[int]:
        """Positions of the premises that would lose their end."""
        ...
