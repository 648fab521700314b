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


BALANCE = ("subtb", "tb", "db", "vargrad", "modified_subtb", "ctb")
POLICY_GRADIENTS = ("rloo", "grpo")
SUB_TRAJECTORIES = ("subtb", "modified_subtb")  # weighted by objective.lam
WITH_FLOW = ("subtb", "tb", "db")  # they train the flow head
PENALTIES = ("square", "huber", "linex", "shifted_cosh")
# They compare the questions of a fact; the loss of a single question is always 0.
COMPARES_QUESTIONS = ("vargrad", "ctb", *POLICY_GRADIENTS)


@dataclass
class ObjectiveConfig:
    name: str = "subtb"
    lam: float = 1.0
    forward_looking: bool = True
    # What a residual costs: square, huber, linex (forward KL) or shifted_cosh.
    penalty: str = "square"
    # linex: 2 (exp(alpha r) - alpha r - 1) / alpha^2.
    alpha: float = 1.0
    # Residuals above it count linearly, whatever the penalty; null is no bound.
    bound: float | None = None
    # Share of the forward KL term in the loss; the objective above has the rest.
    forward_kl: float = 0.0
    # Share at the end of a linear schedule; null keeps it constant.
    forward_kl_end: float | None = None
    # Steps of that schedule; 0 is the whole run.
    forward_kl_horizon: int = 0
    # Exponent of the forward KL term's weights R / q; below 1 they are flatter.
    forward_kl_power: float = 1.0
    # Weight of the KL to the prior in grpo.
    beta: float = 0.04

    def __post_init__(self) -> None:
        check_choice("objective.name", self.name, (*BALANCE, *POLICY_GRADIENTS))
        check_choice("objective.penalty", self.penalty, PENALTIES)
        for key in ("lam", "alpha"):
            check(getattr(self, key) > 0, f"objective.{key}", getattr(self, key), "above 0")
        check(self.beta >= 0, "objective.beta", self.beta, "0 or more")
        self._check_penalty()
        self._check_forward_kl()

    def _check_penalty(self) -> None:
        """Check what is asked of residuals; a bound that cannot be used is not asked for."""
        bound = self.bound
        check(bound is None or bound > 0, "objective.bound", bound, "above 0, or null")
        if self.name in POLICY_GRADIENTS:
            reason = f"with objective.name={self.name}, which has no residuals"
            is_plain = self.penalty == "square"
            check(is_plain, "objective.penalty", self.penalty, f"square {reason}")
            check(bound is None, "objective.bound", bound, f"null {reason}")
        has_bound = bound is not None or self.penalty != "huber"
        check(has_bound, "objective.bound", bound, "set with huber, such as objective.bound=1")

    def _check_forward_kl(self) -> None:
        for key in ("forward_kl", "forward_kl_end"):
            share = getattr(self, key)
            check(share is None or 0 <= share <= 1, f"objective.{key}", share, "from 0 to 1")
        horizon = self.forward_kl_horizon
        check(horizon >= 0, "objective.forward_kl_horizon", horizon, "0 or more")
        power = self.forward_kl_power
        check(0 < power <= 1, "objective.forward_kl_power", power, "above 0 and at most 1")

    @property
    def has_balance(self) -> bool:
        """Whether the objective itself has a share at some step."""
        return self.forward_kl < 1 or self.forward_kl_end not in (None, 1.0)

    @property
    def uses_forward_kl(self) -> bool:
        """Whether the forward KL term has a share at some step."""
        return self.forward_kl > 0 or bool(self.forward_kl_end)


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


DISTINCT_WEIGHTS = ("inclusion", "normalized", "equal")


@dataclass
class ExplorationConfig:
    n_samples: int = 8
    pf_temp_prob: float = 0.3
    pf_temp_low: float = 0.7
    pf_temp_high: float = 1.5
    use_buffer_prob: float = 0.25
    # false: a question sampled k times for a fact counts once in the loss, not k times. It has no
    # effect with distinct.
    count_repeats: bool = True
    # n different questions of a fact: exact sampling without replacement.
    distinct: bool = False
    # inclusion: unbiased; normalized: the weights of a fact sum to 1; equal: all weigh the same.
    distinct_weights: str = "inclusion"
    # Share of a fact's questions drawn from the prior P_Q (adapter off), all different.
    prior_share: float = 0.0
    # Weight replayed questions so that the loss is a mean over all stored ones of a fact.
    correct_replay: bool = False
    # Stored questions of each fact that join its new ones in a step; they cost no oracle call. Not
    # with policy gradients, forward_kl or exchange=actors.
    n_stored: int = 0

    def __post_init__(self) -> None:
        check(self.n_samples >= 1, "exploration.n_samples", self.n_samples, "at least 1")
        weights = self.distinct_weights
        check_choice("exploration.distinct_weights", weights, DISTINCT_WEIGHTS)
        check(self.n_stored >= 0, "exploration.n_stored", self.n_stored, "0 or more")
        share = self.prior_share
        check(0 <= share < 1, "exploration.prior_share", share, "at least 0 and below 1")
        check(
            share == 0 or 1 <= self.n_prior < self.n_samples,
            "exploration.prior_share",
            share,
            f"a share that gives both P_F and the prior a question of n_samples={self.n_samples}",
        )
        check(
            weights != "equal" or self.distinct or self.n_prior == 0,
            "exploration.distinct_weights",
            weights,
            "inclusion or normalized with prior_share and distinct=false, where the policy's own "
            "draws count as often as they were drawn",
        )
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

    @property
    def n_prior(self) -> int:
        """How many questions of a fact are drawn from the prior."""
        return round(self.prior_share * self.n_samples)
