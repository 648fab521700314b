"""Every setting of a run: key, type, default and range.

Hydra composes the settings from the YAML groups in `configs/` and rejects unknown keys and wrong
types. The dataclasses check the ranges, before any model is loaded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contraflow.settings.learning import (
    COMPARES_QUESTIONS,
    POLICY_GRADIENTS,
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

# Keys that may change when a run is resumed: they affect neither sampling nor learning. A folder
# may be moved and renamed. `model.decoding` and `.compile` only change the order of additions.
MAY_CHANGE = (
    "name",
    "run_dir",
    "logger.",
    "model.gradient_checkpointing",
    "model.decoding",
    "model.compile",
    "trainer.threads",
    "trainer.max_time",
    "replay.url",
    "replay.patience_s",
    "exchange.timeout_s",
    "exchange.actor",  # actors, actor_cpus, actor_gpus
    "exchange.address",
    "oracle.served.",
)

_SEEDS = 2**63  # torch takes a 64-bit number


@dataclass
class Config:
    """All settings of a run. Raises: UserError for a value out of range, by its key."""

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
        if self.run_dir.startswith("~"):  # the shell does not always expand it
            self.run_dir = str(Path(self.run_dir).expanduser())
        check_finite(self)
        is_seed = -_SEEDS <= self.seed < _SEEDS
        check(is_seed, "seed", self.seed, f"from {-_SEEDS} to {_SEEDS - 1}")
        check(
            self.exchange.kind != "local" or self.trainer.devices == 1,
            "exchange.kind",
            self.exchange.kind,
            "scatter, broadcast, symmetric or actors with several trainer.devices",
        )
        self._check_learning()

    def _check_learning(self) -> None:
        """Check what objective and exploration ask of each other."""
        objective = self.objective
        exploration = self.exploration
        n_samples = exploration.n_samples
        compares = objective.name in COMPARES_QUESTIONS or objective.uses_forward_kl
        what = "objective.forward_kl" if objective.uses_forward_kl else "objective.name"
        value = objective.forward_kl if objective.uses_forward_kl else objective.name
        check(
            n_samples > 1 or not compares,
            "exploration.n_samples",
            n_samples,
            f"at least 2 with {what}={value}, which compares questions",
        )
        if objective.name in POLICY_GRADIENTS:
            check_own_draws(exploration, f"objective.name={objective.name}")
        check(
            not (exploration.correct_replay and self.replay.sampling == "newest"),
            "replay.sampling",
            self.replay.sampling,
            "uniform, rank or reward with exploration.correct_replay",
        )
        self._check_stored()

    def _check_stored(self) -> None:
        """Stored questions have no density, and the learner of actors has its own share of them."""
        refused = None
        if self.objective.uses_forward_kl:
            refused = "objective.forward_kl, which needs the density of every question"
        elif self.exchange.kind == "actors":
            refused = "exchange=actors, which has exchange.newest_share for it"
        n_stored = self.exploration.n_stored
        check(
            n_stored == 0 or refused is None, "exploration.n_stored", n_stored, f"0 with {refused}"
        )


def check_own_draws(exploration: ExplorationConfig, what: str) -> None:
    """Check that the mean of a policy gradient is one over draws of the policy itself.

    Args:
        what: the objective, as an error names it.
    Raises: UserError.
    """
    share = exploration.prior_share
    weights = exploration.distinct_weights
    n_stored = exploration.n_stored
    reason = f"with {what}, which learns from its own draws"
    check(share == 0, "exploration.prior_share", share, f"0 {reason} only")
    check(
        exploration.count_repeats or exploration.distinct,
        "exploration.count_repeats",
        exploration.count_repeats,
        f"true {reason}, each as often as it came; or set exploration.distinct=true",
    )
    check(
        weights != "equal" or not exploration.distinct,
        "exploration.distinct_weights",
        weights,
        f"inclusion or normalized {reason}, weighted as such",
    )
    check(n_stored == 0, "exploration.n_stored", n_stored, f"0 {reason} only")


def shown_settings(config: Config) -> dict[str, Any]:
    """Return all settings as nested dicts for files and logs, without the secrets in the URL."""
    shown = asdict(config)
    if config.replay.url:
        shown["replay"]["url"] = safe_url(config.replay.url)
    return shown


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to one dict with dotted keys."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    settings: dict[str, Any] = {}
    for key, subtree in tree.items():
        settings |= flat(subtree, f"{prefix}.{key}" if prefix else key)
    return settings
