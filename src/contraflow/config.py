"""Every setting of a run, typed: what a key is called, its default and its range.

Hydra composes these from the YAML groups in ``configs/``; unknown keys and wrong types are refused while
composing, ranges here, before any model loads.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from contraflow.addresses import safe_url
from contraflow.budget import seconds_of
from contraflow.errors import UserError

MAY_CHANGE = (  # of a run that goes on: decides nothing of what is drawn or learnt
    "logger.",
    "model.gradient_checkpointing",
    "model.decoding",  # another order of the same additions
    "trainer.threads",
    "trainer.max_time",
    "replay.url",
    "replay.patience_s",
    "exchange.timeout_s",
)


def check(ok: bool, key: str, value: Any, needs: str) -> None:
    """Refuse a value out of range, by its key. Raises: UserError."""
    if not ok:
        raise UserError(f"{key}={value}: must be {needs}")


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is no choice, naming the choices. Raises: UserError."""
    check(value in choices, key, value, f"one of {', '.join(choices)}")


def check_finite(part: Any, prefix: str = "") -> None:
    """Refuse infinities and NaN anywhere in a tree of settings, by their keys. Raises: UserError."""
    for item in fields(part):
        value = getattr(part, item.name)
        if is_dataclass(value):
            check_finite(value, f"{prefix}{item.name}.")
        elif isinstance(value, float):
            check(math.isfinite(value), prefix + item.name, value, "a finite number")


@dataclass
class DataConfig:
    facts: str | None = None  # JSONL of facts to train and test on; null is the shipped data set
    filter_known: bool = True  # learn from facts that the oracle answers right to a plain question
    max_train_facts: int | None = None
    max_validation_facts: int = 8
    max_test_facts: int = 48

    def __post_init__(self) -> None:
        for key in ("max_train_facts", "max_validation_facts", "max_test_facts"):
            value = getattr(self, key)
            check(value is None or value >= 1, f"data.{key}", value, "at least 1")


@dataclass
class LoraConfig:
    r: int = 16
    alpha: int = 32
    target_modules: list[str] | None = (
        None  # null: PEFT's default for the architecture; [all-linear]: every linear layer
    )

    def __post_init__(self) -> None:
        check(self.r >= 1, "model.lora.r", self.r, "at least 1")
        check(self.alpha > 0, "model.lora.alpha", self.alpha, "above 0")


@dataclass
class ModelConfig:
    name: str = "packaged:smollm2-135m-instruct"  # packaged:NAME, a folder, or a hub name
    dtype: str = "float32"
    device: str = "auto"
    quantize: str | None = None  # 8bit or 4bit: the frozen weights of sampler and oracle, by bitsandbytes
    gradient_checkpointing: bool = False  # less memory, a longer backward pass, the same gradients
    decoding: str = (
        "auto"  # static: fixed shapes, as CUDA graphs; eager: as few rows as there are; auto: static on CUDA
    )
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        check_choice("model.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        check_choice("model.decoding", self.decoding, ("auto", "eager", "static"))
        known = re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device) is not None
        check(known, "model.device", self.device, "auto, cpu, cuda, cuda:N or mps")
        if self.quantize is not None:
            check_choice("model.quantize", self.quantize, ("8bit", "4bit"))
            check(
                self.device != "mps", "model.device", self.device, "a CPU or CUDA device with model.quantize"
            )


@dataclass
class OracleConfig:
    name: str | None = None  # null: the sampler's own frozen backbone
    max_answer_tokens: int = 20
    batch_size: int = 64

    def __post_init__(self) -> None:
        check(self.max_answer_tokens >= 1, "oracle.max_answer_tokens", self.max_answer_tokens, "at least 1")
        check(self.batch_size >= 1, "oracle.batch_size", self.batch_size, "at least 1")


@dataclass
class JudgeConfig:
    name: str = "packaged:minilm"  # packaged:minilm, or any sequence-classification NLI checkpoint
    label_order: list[str] | None = None  # for checkpoints that name their labels LABEL_0 …
    batch_size: int = 64

    def __post_init__(self) -> None:
        check(self.batch_size >= 1, "judge.batch_size", self.batch_size, "at least 1")
        order = self.label_order
        known = order is None or sorted(order) == ["contradiction", "entailment", "neutral"]
        check(
            known,
            "judge.label_order",
            order,
            "entailment, neutral and contradiction in the checkpoint's order",
        )


@dataclass
class PromptConfig:
    task: str = ""
    answer: str = ""


@dataclass
class PolicyConfig:
    vocabulary: str = "latin"
    min_question_len: int = 4
    max_question_len: int = 18

    def __post_init__(self) -> None:
        check_choice("policy.vocabulary", self.vocabulary, ("printable_ascii", "latin", "all"))
        check(self.min_question_len >= 1, "policy.min_question_len", self.min_question_len, "at least 1")
        check(
            self.max_question_len >= self.min_question_len,
            "policy.max_question_len",
            self.max_question_len,
            f"at least min_question_len={self.min_question_len}",
        )


@dataclass
class RewardConfig:
    kind: str = "hybrid"
    penalized_reward_end_step: int = 150
    failure_penalty: float = -50.0
    contradiction_threshold: float = -6.0
    likelihood_weight: float = 1.0
    answer_quality_weight: float = 0.0
    entailment_weight: float = 0.0  # of log E: does the answer say the fact's original_fact?
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
        for key in ("likelihood_weight", "answer_quality_weight", "entailment_weight"):
            check(getattr(self, key) >= 0, f"reward.{key}", getattr(self, key), "0 or more")
        for key in ("penalized_reward_end_step", "reward_temp_horizon"):
            check(getattr(self, key) >= 0, f"reward.{key}", getattr(self, key), "0 or more")


@dataclass
class ObjectiveConfig:
    name: str = "subtb"
    lam: float = 1.0
    forward_looking: bool = True
    bound: float | None = None  # residuals beyond it count linearly (Huber); null is the plain square

    def __post_init__(self) -> None:
        choices = ("subtb", "tb", "db", "vargrad", "modified_subtb", "ctb")
        check_choice("objective.name", self.name, choices)
        check(self.lam > 0, "objective.lam", self.lam, "above 0")
        check(self.bound is None or self.bound > 0, "objective.bound", self.bound, "above 0, or null")


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
        check(0 <= self.final_lr_share <= 1, "optimizer.final_lr_share", self.final_lr_share, "from 0 to 1")
        check(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "0 or more")


@dataclass
class ExplorationConfig:
    n_samples: int = 8
    pf_temp_prob: float = 0.3
    pf_temp_low: float = 0.7
    pf_temp_high: float = 1.5
    use_buffer_prob: float = 0.25

    def __post_init__(self) -> None:
        check(self.n_samples >= 1, "exploration.n_samples", self.n_samples, "at least 1")
        for key in ("pf_temp_prob", "use_buffer_prob"):
            check(0 <= getattr(self, key) <= 1, f"exploration.{key}", getattr(self, key), "from 0 to 1")
        check(
            0 < self.pf_temp_low <= self.pf_temp_high,
            "exploration.pf_temp_low",
            self.pf_temp_low,
            f"above 0 and at most pf_temp_high={self.pf_temp_high}",
        )


@dataclass
class ReplayConfig:
    store: str = "memory"
    capacity_per_fact: int = 32
    sampling: str = "rank"
    sampling_temp: float = 1.0  # sampling=reward draws in proportion to exp(log-reward / sampling_temp)
    near_duplicate: float = 0.2  # below this distance two questions are one, and the better one stays
    near_duplicate_by: str = (
        "tokens"  # tokens: edit distance over length; embedding: 1 - cosine, 0.05 is close
    )
    patience_s: float = 120.0  # how long a server that went away is waited for
    url: str | None = None  # redis only, e.g. redis://:password@host:6379/0

    def __post_init__(self) -> None:
        check_choice("replay.store", self.store, ("memory", "embedded", "redis"))
        check(self.store != "redis" or bool(self.url), "replay.url", self.url, "set with replay=redis")
        check_choice("replay.sampling", self.sampling, ("uniform", "rank", "reward", "newest"))
        check_choice("replay.near_duplicate_by", self.near_duplicate_by, ("tokens", "embedding"))
        check(self.sampling_temp > 0, "replay.sampling_temp", self.sampling_temp, "above 0")
        check(self.patience_s >= 0, "replay.patience_s", self.patience_s, "0 or more")
        check(self.capacity_per_fact >= 1, "replay.capacity_per_fact", self.capacity_per_fact, "at least 1")
        check(0 <= self.near_duplicate <= 1, "replay.near_duplicate", self.near_duplicate, "from 0 to 1")


@dataclass
class ExchangeConfig:
    kind: str = "scatter"  # with one rank there is nothing to exchange, whatever this says
    timeout_s: float = (
        3600.0  # how long a rank waits for another: rank 0 also measures and validates meanwhile
    )

    def __post_init__(self) -> None:
        check_choice("exchange.kind", self.kind, ("local", "broadcast", "scatter", "symmetric"))
        check(self.timeout_s > 0, "exchange.timeout_s", self.timeout_s, "above 0")


@dataclass
class TrainerConfig:
    devices: int = 1  # ranks: processes that train together, each on a GPU of its own where there are any
    n_steps: int = 300
    facts_per_step: int = 4
    threads: int | None = None  # CPU threads; null is torch's own choice, which heeds OMP_NUM_THREADS
    max_time: str | None = None  # of one start, e.g. 1h30m; then a checkpoint is written and the run stops
    checkpoint_every: int = 10
    validate_every: int = 20
    probe_every: int = 10

    def __post_init__(self) -> None:
        for key in (
            "devices",
            "n_steps",
            "facts_per_step",
            "checkpoint_every",
            "validate_every",
            "probe_every",
        ):
            check(getattr(self, key) >= 1, f"trainer.{key}", getattr(self, key), "at least 1")
        threads = self.threads
        check(threads is None or threads >= 1, "trainer.threads", threads, "at least 1, or null")
        time = self.max_time
        ok = time is None or seconds_of(time) is not None
        check(ok, "trainer.max_time", time, "a time such as 1h30m, 45m, 2d or 90s, or null")


@dataclass
class LoggerConfig:
    csv: bool = True
    tensorboard: bool = False
    wandb: str = "offline"  # offline | online | disabled
    wandb_project: str = "contraflow"

    def __post_init__(self) -> None:
        check_choice("logger.wandb", self.wandb, ("offline", "online", "disabled"))


@dataclass
class EvaluationConfig:
    enabled: bool = True  # measure before step 1 and after the last
    n_samples: int = 8
    temperature: float = 1.0
    subject_only_baseline: bool = True  # also the untrained sampler with the original's prompt

    def __post_init__(self) -> None:
        check(self.n_samples >= 1, "evaluation.n_samples", self.n_samples, "at least 1")
        check(self.temperature > 0, "evaluation.temperature", self.temperature, "above 0")


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
    """Every setting as it may be written down, logged or printed: the replay URL has lost its secrets."""
    shown = asdict(config)
    if config.replay.url:
        shown["replay"]["url"] = safe_url(config.replay.url)
    return shown


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted keys."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        k: v for key, sub in tree.items() for k, v in flat(sub, f"{prefix}.{key}" if prefix else key).items()
    }
