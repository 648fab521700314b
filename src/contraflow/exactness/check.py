"""Train on an enumerable space exactly as a real run trains, then compare with R / Z."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.exactness.space import FACTS, Architecture, RewardKind, Space, make_space
from contraflow.experience.collect import Experience
from contraflow.experience.stream import FactStream
from contraflow.gflownet.objectives import Objective
from contraflow.replay.memory import MemoryReplay
from contraflow.settings.learning import ExplorationConfig, OptimizerConfig
from contraflow.settings.running import ReplayConfig
from contraflow.training.module import SamplerModule

EXPLORATION = ExplorationConfig(
    n_samples=64, use_buffer_prob=0.5, pf_temp_prob=0.5, pf_temp_low=0.7, pf_temp_high=2.0
)


LR = 4e-3
StepHook = Callable[[], None]  # called after each optimizer step


@dataclass(frozen=True)
class ExactSettings:
    """One experiment: a space, a table, and how long to learn."""

    objective: str = "subtb"
    seed: int = 0
    vocab: int = 4
    max_len: int = 4
    reward: RewardKind = "table"
    architecture: Architecture = "llama"
    n_steps: int = 1600
    lr: float = LR  # of the adapter
    flow_lr: float = 1e-2
    log_z_lr: float = 1e-2
    count_repeats: bool = True  # as `exploration.count_repeats`


def adapter_lr(objective: str) -> float:
    """The adapter's rate for an objective; DB's flows learn one token at a time, and lag behind a
    faster adapter.
    """
    return LR / 2 if objective == "db" else LR


@dataclass(frozen=True)
class Exactness:
    """How far a sampler is from R / Z; the worst of the facts where there are several."""

    total_variation: float
    total_variation_untrained: float
    log_z_error: float | None  # |log F(s_0) − log Z|; None where the objective models no Z
    log_z_bound_gap: float  # log Z − E_{P_F}[log R − log P_F], which is KL(P_F ‖ R/Z)
    slope: float  # least squares of log P_F on log R over every question, within a fact
    n_questions: int
    probability_mass: float  # Σ P_F over every question: 1, or the environment leaks
    seconds: float

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return asdict(self)


def run_exact(
    settings: ExactSettings, objective: Objective, on_step: StepHook | None = None
) -> Exactness:
    """Learn the table through policy, experience, replay, objective and Lightning, and measure."""
    started = time.monotonic()
    space = make_space(
        architecture=settings.architecture,
        n_tokens=settings.vocab,
        max_len=settings.max_len,
        reward=settings.reward,
        seed=settings.seed,
    )
    before = max(_total_variation(space, fact_index) for fact_index in range(len(FACTS)))
    _fit(space, settings, objective, on_step)
    return _measure(space, objective, before, time.monotonic() - started)


def _fit(
    space: Space, settings: ExactSettings, objective: Objective, on_step: StepHook | None
) -> None:
    replay = MemoryReplay(
        "exact", ReplayConfig(capacity_per_fact=len(space.questions), near_duplicate=0.0)
    )
    exploration = replace(EXPLORATION, count_repeats=settings.count_repeats)
    experience = Experience(
        space.policy, space.scorer, replay, space.reward, exploration, seed=settings.seed
    )
    optimizer = OptimizerConfig(
        lr=settings.lr, flow_lr=settings.flow_lr, log_z_lr=settings.log_z_lr, final_lr_share=0.005
    )
    module = SamplerModule(
        space.policy, experience, space.reward, objective, optimizer, n_steps=settings.n_steps
    )
    stream = FactStream(FACTS, len(FACTS), settings.n_steps, settings.seed)
    with _quiet_lightning():
        _trainer(settings.n_steps, on_step).fit(module, stream)


def _trainer(n_steps: int, on_step: StepHook | None) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        max_steps=n_steps,
        gradient_clip_val=1.0,
        callbacks=[] if on_step is None else [_Each(on_step)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _Each(L.Callback):
    def __init__(self, hook: StepHook) -> None:
        self.hook = hook

    def on_train_batch_end(self, *_: object) -> None:
        self.hook()


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _total_variation(space: Space, fact_index: int) -> float:
    log_pf, _ = space.log_pf(FACTS[fact_index])
    return _distance(log_pf, space.log_reward(FACTS[fact_index]))


def _distance(log_pf: Float[Tensor, " q"], log_reward: Float[Tensor, " q"]) -> float:
    return 0.5 * float((log_pf.exp() - log_reward.softmax(0)).abs().sum())


def _measure(space: Space, objective: Objective, before: float, seconds: float) -> Exactness:
    log_rewards = [space.log_reward(fact) for fact in FACTS]
    found = [space.log_pf(fact) for fact in FACTS]
    log_pfs = [log_pf for log_pf, _ in found]
    log_zs = [float(r.logsumexp(0)) for r in log_rewards]
    bounds = [float((p.exp() * (r - p)).sum()) for p, r in zip(log_pfs, log_rewards, strict=True)]
    x = torch.cat([r - r.mean() for r in log_rewards])
    y = torch.cat([p - p.mean() for p in log_pfs])
    return Exactness(
        total_variation=max(map(_distance, log_pfs, log_rewards)),
        total_variation_untrained=before,
        log_z_error=max(abs(flow - z) for (_, flow), z in zip(found, log_zs, strict=True))
        if objective.uses_flow
        else None,
        log_z_bound_gap=max(z - bound for z, bound in zip(log_zs, bounds, strict=True)),
        slope=float((x * y).sum() / x.square().sum()),
        n_questions=len(space.questions),
        probability_mass=min(float(p.exp().sum()) for p in log_pfs),
        seconds=seconds,
    )
