"""The model on the bench: the packaged one, asked as contraflow asks, edited as plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contraflow import compose_config
from contraflow.models.causal_lm import CausalLM
from contraflow.run.build import load_lm, load_oracle
from contraflow.settings import Config
from contraflow.types import Forced, Oracle
from examples.edits.cases import Case
from examples.edits.targets import Targets, encode_targets, forced_scores

BASE = "packaged:smollm2-135m-instruct"


@dataclass(frozen=True)
class Bench:
    """A model with its tokenizer; `model` is what an editor changes."""

    config: Config
    lm: CausalLM

    @classmethod
    def open(cls) -> Bench:
        """Load the packaged model on the CPU."""
        config = compose_config([f"model.name={BASE}", "model.device=cpu"])
        return cls(config, load_lm(config))

    @property
    def model(self) -> Any:
        return self.lm.model

    @property
    def tokenizer(self) -> Any:
        return self.lm.tokenizer

    def oracle(self) -> Oracle:
        """Answers of the model as it is now; make a new one after every edit."""
        return load_oracle(self.config, self.lm)

    def targets(self, cases: Sequence[Case]) -> Targets:
        """The edited answers behind their own prompts."""
        return encode_targets(self.tokenizer, [c.prompt for c in cases], [c.target for c in cases])

    def scores(self, cases: Sequence[Case]) -> list[Forced]:
        """The editor's own score of each case, on the model as it is now."""
        return forced_scores(self.model, self.targets(cases))
