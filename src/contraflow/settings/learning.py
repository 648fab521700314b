"""Settings of reward, objective, optimizer and exploration."""

from __future__ import annotations

from dataclasses import dataclass

from contraflow.settings.ranges import check, check_choice


@dataclass
class RewardConfig:
    kind: str = "hybrid"
    penalized_reward_end_step: int = 150
    failure_penalty: float = -50.0
    contradiction_threshold: float = -6.0
    likelihood_weight: float = 1.0
    # Upper limit of log P_Q in the reward, in nats; 0 is no limit.
    likelihood_ceiling: float = 0.0
    answer_quality_weight: float = 0.0
    # Weight of log E, the log-probability that the fact's original_fact entails the answer.
    entailment_weight: float = 0.0
    answer_failure_penalty: float = -10.0
    answer_quality_threshold: float = -20.0
    question_failure_penalty: float = -5.0
    reward_temp_start: float = 1.0
    reward_temp_end: float = 1.0
    reward_temp_horizon: int = 0

    def __post_init__(self) -> None:
        check_choice("reward.kind", self.kind, ("static", "penalized", "hybrid"))
        for key in ("failure_penalty", "answer_failure_penalty", "question_failure_penalty"):
            check(getattr(self, key) <= 0, f"reward.{key}", getattr(self, key), "0 or negative")
        for key in ("reward_temp_start", "reward_temp_end"):
            check(getattr(self, key) > 0, f"reward.{key}", getattr(self, key), "above 0")
        ceiling = self.likelihood_ceiling
        check(ceiling <= 0, "reward.likelihood_ceiling", ceiling, "at most 0")
        for key in ("likelihood_weight", "answer_quality_weight", "entailment_weight"):
            check(getattr(self, key) >= 0, f"reward.{key}", getattr(self, key), "0 or more")
        for key in ("penalized_reward_end_step", "reward_temp_horizon"):
            check(getattr(self, key) >= 0, f"reward.{key}", getattr(self, key), "0 or more")


@dataclass
class ObjectiveConfig:
    name: str = "subtb"
    lam: float = 1.0
    forward_looking: bool = True
    # Residuals above it count linearly (Huber loss); null is the squared loss.
    bound: float | None = None

    def __post_init__(self) -> None:
        choices = ("subtb", "tb", "db", "vargrad", "modified_subtb", "ctb")
        check_choice("objective.name", self.name, choices)
        check(self.lam > 0, "objective.lam", self.lam, "above 0")
        check(
            self.bound is None or self.bound > 0, "objective.bound", self.bound, "above 0, or null"
        )


@dataclass
class OptimizerConfig:
    lr: float = 1e-3
    flow_lr: float = 3e-3
    log_z_lr: float = 3e-3
    warmup_steps: int = 5
    final_lr_share: float = 0.1
    grad_clip: float = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for key in ("lr", "flow_lr", "log_z_lr", "grad_clip"):
            check(getattr(self, key) > 0, f"optimizer.{key}", getattr(self, key), "above 0")
        check(self.warmup_steps >= 0, "optimizer.warmup_steps", self.warmup_steps, "0 or more")
        check(
            0 <= self.final_lr_share <= 1,
            "optimizer.final_lr_share",
            self.final_lr_share,
            "from 0 to 1",
        )
        check(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "0 or more")


@dataclass
class ExplorationConfig:
    n_samples: int = 8
    pf_temp_prob: float = 0.3
    pf_temp_low: float = 0.7
    pf_temp_high: float = 1.5
    use_buffer_prob: float = 0.25
    # false: a question sampled k times for a fact counts once in the loss, not k times.
    count_repeats: bool = True

    def __post_init__(self) -> None:
        check(self.n_samples >= 1, "exploration.n_samples", self.n_samples, "at least 1")
        for key in ("pf_temp_prob", "use_buffer_prob"):
            check(
                0 <= getattr(self, key) <= 1,
                f"exploration.{key}",
                getattr(self, key),
                "from 0 to 1",
            )
        check(
            0 < self.pf_temp_low <= self.pf_temp_high,
            "exploration.pf_temp_low",
            self.pf_temp_low,
            f"above 0 and at most pf_temp_high={self.pf_temp_high}",
        )
