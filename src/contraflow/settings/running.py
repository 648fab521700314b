"""Settings of data, replay, exchange, trainer, loggers and evaluation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from contraflow.settings.ranges import check, check_choice
from contraflow.system.budget import seconds_of

_HOST_AND_PORT = re.compile(r"([\w.-]+|\[[\da-fA-F:]+\]):(\d{1,5})")
BEST_BY = ("val_elbo", "val_log_reward", "val_log_contradiction")


@dataclass
class DataConfig:
    # JSONL of facts for training and test; null is the packaged data set.
    facts: str | None = None
    # Train only on facts whose plain question the oracle answers correctly.
    filter_known: bool = True
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
    # sampling=reward samples in proportion to exp(log-reward / sampling_temp).
    sampling_temp: float = 1.0
    # Of two questions with a smaller distance only the one with the higher reward is kept.
    near_duplicate: float = 0.2
    # tokens: edit distance over length; embedding: 1 - cosine (0.05 is close).
    near_duplicate_by: str = "tokens"
    # Seconds to wait for a server that does not respond.
    patience_s: float = 120.0
    # Only for redis, e.g. redis://:password@host:6379/0.
    url: str | None = None

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
    # Has no effect with one rank, except for actors.
    kind: str = "scatter"
    # Seconds that a rank waits for another; includes validation and evaluation on rank 0.
    timeout_s: float = 3600.0
    # The other keys are for exchange=actors only: how many processes sample and score.
    actors: int = 4
    # A Ray cluster: auto, or HOST:PORT of its head; null starts one on this machine.
    address: str | None = None
    # Share of a batch's facts with questions that are learned for the first time; 1 for policy
    # gradients.
    newest_share: float = 0.75
    # Steps between two versions of the adapter.
    publish_every: int = 1
    # Versions that a question learned for the first time may be behind.
    max_staleness: int = 16
    # Steps that may learn from one sampled question.
    max_reuse: int = 8
    # CPUs of one actor, and its GPUs or its share of one; 0 GPUs is the CPU.
    actor_cpus: float = 1.0
    actor_gpus: float = 0.0

    def __post_init__(self) -> None:
        kinds = ("local", "broadcast", "scatter", "symmetric", "actors")
        check_choice("exchange.kind", self.kind, kinds)
        check(self.timeout_s > 0, "exchange.timeout_s", self.timeout_s, "above 0")
        for key in ("actors", "publish_every", "max_reuse"):
            check(getattr(self, key) >= 1, f"exchange.{key}", getattr(self, key), "at least 1")
        staleness = self.max_staleness
        check(staleness >= 0, "exchange.max_staleness", staleness, "0 or more")
        share = self.newest_share
        check(0 < share <= 1, "exchange.newest_share", share, "above 0 and at most 1")
        check(self.actor_cpus > 0, "exchange.actor_cpus", self.actor_cpus, "above 0")
        gpus = self.actor_gpus
        ok = gpus >= 0 and (gpus <= 1 or gpus == int(gpus))
        check(ok, "exchange.actor_gpus", gpus, "from 0 to 1, or a whole number")
        found = None if self.address is None else _HOST_AND_PORT.fullmatch(self.address)
        ok = self.address in (None, "auto") or (found is not None and 0 < int(found[2]) < 2**16)
        check(ok, "exchange.address", self.address, "auto, HOST:PORT of a Ray head, or null")


@dataclass
class TrainerConfig:
    # Number of ranks (processes that train together), each with its own GPU if there are GPUs.
    devices: int = 1
    n_steps: int = 300
    facts_per_step: int = 4
    # CPU threads; null is torch's default, which OMP_NUM_THREADS sets.
    threads: int | None = None
    # Time limit of one start, e.g. 1h30m; the run then writes a checkpoint and stops.
    max_time: str | None = None
    checkpoint_every: int = 10
    validate_every: int = 20
    # Metric that selects the weights in `adapter/`; val_log_reward is the mean reward alone.
    best_by: str = "val_elbo"
    probe_every: int = 10
    # After so many steps, and whenever their number has doubled, what is asked about three held-out
    # facts is shown beside what was asked before training; 0 shows nothing.
    show_after: int = 0

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
        check(self.show_after >= 0, "trainer.show_after", self.show_after, "0 or more")
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
    # offline, online or disabled.
    wandb: str = "offline"
    wandb_project: str = "contraflow"

    def __post_init__(self) -> None:
        check_choice("logger.wandb", self.wandb, ("offline", "online", "disabled"))


@dataclass
class EvaluationConfig:
    # Evaluate before the first step and after the last one.
    enabled: bool = True
    n_samples: int = 8
    temperature: float = 1.0
    # Also evaluate the untrained sampler.
    untrained: bool = True
    # Also evaluate the untrained sampler with the subject-only prompt.
    subject_only_baseline: bool = True
    # Also ask the trained sampler for different questions: drawn without replacement.
    distinct: bool = True
    # Also keep n_samples of so many different questions in proportion to their reward; 0 is none.
    proportion_of: int = 0
    # Training facts on which the trained sampler is evaluated too; 0 is none.
    training_facts: int = 16
    # Test facts, and different questions of each by the untrained sampler, from which the metrics
    # of an exact sampler of the target are estimated; 0 is no estimate.
    target_facts: int = 12
    target_samples: int = 64

    def __post_init__(self) -> None:
        check(self.n_samples >= 1, "evaluation.n_samples", self.n_samples, "at least 1")
        check(self.temperature > 0, "evaluation.temperature", self.temperature, "above 0")
        for key in ("training_facts", "target_facts", "proportion_of"):
            check(getattr(self, key) >= 0, f"evaluation.{key}", getattr(self, key), "0 or more")
        several = self.proportion_of == 0 or self.proportion_of >= self.n_samples
        wanted = f"0, or at least evaluation.n_samples={self.n_samples}"
        check(several, "evaluation.proportion_of", self.proportion_of, wanted)
        samples = self.target_samples
        check(samples >= 2, "evaluation.target_samples", samples, "at least 2")
