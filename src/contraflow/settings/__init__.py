"""Every setting of a run, typed: what a key is called, its default and its range.

Hydra composes these from the YAML groups in ``configs/``; unknown keys and wrong types are refused
while composing, ranges here, before any model loads.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from contraflow.settings.learning import (
    ExplorationConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RewardConfig,
)
from contraflow.settings.models import (
    JudgeConfig,
    LoraConfig,
    ModelConfig,
    OracleConfig,
    PolicyConfig,
    PromptConfig,
)
from contraflow.settings.ranges import check, check_finite
from contraflow.settings.running import (
    DataConfig,
    EvaluationConfig,
    ExchangeConfig,
    LoggerConfig,
    ReplayConfig,
    TrainerConfig,
)
from contraflow.system.addresses import safe_url

__all__ = [
    "MAY_CHANGE",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "ExchangeConfig",
    "ExplorationConfig",
    "JudgeConfig",
    "LoggerConfig",
    "LoraConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "OracleConfig",
    "PolicyConfig",
    "PromptConfig",
    "ReplayConfig",
    "RewardConfig",
    "TrainerConfig",
    "flat",
    "shown_settings",
]

MAY_CHANGE = (  # of a run that goes on: decides nothing of what is drawn or learned
    "logger.",
    "model.gradient_checkpointing",
    "model.decoding",  # another order of the same additions
    "trainer.threads",
    "trainer.max_time",
    "replay.url",
    "replay.patience_s",
    "exchange.timeout_s",
)


@dataclass
class Config:
    """A whole run."""

    name: str = "run"
    run_dir: str = "runs/${name}"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    oracle: OracleConfig = field(default_factory=OracleConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    exchange: ExchangeConfig = field(default_factory=ExchangeConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        check_finite(self)
        alone = self.exchange.kind == "local" and self.trainer.devices > 1
        check(
            not alone,
            "exchange.kind",
            "local",
            "scatter, broadcast or symmetric with several trainer.devices",
        )


def shown_settings(config: Config) -> dict[str, Any]:
    """Every setting as it may be written down, logged or printed: the replay URL has lost its
    secrets.
    """
    shown = asdict(config)
    if config.replay.url:
        shown["replay"]["url"] = safe_url(config.replay.url)
    return shown


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted keys."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        k: v
        for key, sub in tree.items()
        for k, v in flat(sub, f"{prefix}.{key}" if prefix else key).items()
    }
