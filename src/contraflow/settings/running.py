"""What a run reads, stores, exchanges, logs and measures, and how long it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from contraflow.settings.ranges import check, check_choice
from contraflow.system.budget import seconds_of

BEST_BY = ("val_elbo", "val_log_reward", "val_log_contradiction")


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
class ReplayConfig:
    store: str = "memory"
    capacity_per_fact: int = 32
    sampling: str = "rank"
    sampling_temp: float = (
        1.0  # sampling=reward draws in proportion to exp(log-reward / sampling_temp)
    )
    near_duplicate: float = (
        0.2  # below this distance two questions are one, and the better one stays
    )
    near_duplicate_by: str = (
        "tokens"  # tokens: edit distance over length; embedding: 1 - cosine, 0.05 is close
    )
    patience_s: float = 120.0  # how long a server that went away is waited for
    url: str | None = None  # redis only, e.g. redis://:password@host:6379/0

    def __post_init__(self) -> None:
        check_choice("replay.store", self.store, ("memory", "embedded", "redis"))
        check(
            self.store != "redis" or bool(self.url), "replay.url", self.url, "set with replay=redis"
        )
        check_choice("replay.sampling", self.sampling, ("uniform", "rank", "reward", "newest"))
        check_choice("replay.near_duplicate_by", self.near_duplicate_by, ("tokens", "embedding"))
        check(self.sampling_temp > 0, "replay.sampling_temp", self.sampling_temp, "above 0")
        check(self.patience_s >= 0, "replay.patience_s", self.patience_s, "0 or more")
        check(
            self.capacity_per_fact >= 1,
            "replay.capacity_per_fact",
            self.capacity_per_fact,
            "at least 1",
        )
        check(
            0 <= self.near_duplicate <= 1,
            "replay.near_duplicate",
            self.near_duplicate,
            "from 0 to 1",
        )


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
    devices: int = (
        1  # ranks: processes that train together, each on a GPU of its own where there are any
    )
    n_steps: int = 300
    facts_per_step: int = 4
    threads: int | None = (
        None  # CPU threads; null is torch's own choice, which heeds OMP_NUM_THREADS
    )
    max_time: str | None = (
        None  # of one start, e.g. 1h30m; then a checkpoint is written and the run stops
    )
    checkpoint_every: int = 10
    validate_every: int = 20
    best_by: str = (
        "val_elbo"  # what `adapter/` is the best by; val_log_reward is the mean reward alone
    )
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
        check_choice("trainer.best_by", self.best_by, BEST_BY)
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
