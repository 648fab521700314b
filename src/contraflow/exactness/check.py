"""Train on an enumerable space with the code of a real run, then compare P_F with R / Z."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.exactness.space import FACTS, Architecture, RewardKind, Space, make_space
from contraflow.experience.collect import Experience
from contraflow.experience.stream import FactStream
from contraflow.facts import Fact
from contraflow.gflownet.objectives import Objective
from contraflow.replay.memory import MemoryReplay
from contraflow.settings.learning import ExplorationConfig, OptimizerConfig
from contraflow.settings.running import ReplayConfig
from contraflow.training.loss import StepLoss
from contraflow.training.module import SamplerModule

EXPLORATION = ExplorationConfig(
    n_samples=64, use_buffer_prob=0.5, pf_temp_prob=0.5, pf_temp_low=0.7, pf_temp_high=2.0
)
LR = 4e-3  # of the adapter

StepHook = Callable[[], None]  # called after each optimizer step


@dataclass(frozen=True)
class ExactSettings:
    """One experiment: the space, its reward table, and the training."""

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
    # As in `exploration`; an objective that is on policy has no replay and no other temperature.
    count_repeats: bool = True
    distinct: bool = False
    distinct_weights: str = "inclusion"
    prior_share: float = 0.0
    n_stored: int = 0
    n_samples: int = EXPLORATION.n_samples


def adapter_lr(objective: str) -> float:
    """Return the adapter's learning rate for an objective.

    It is lower for DB: its flows propagate one token at a time and lag behind a faster adapter.
    """
    return LR / 2 if objective == "db" else LR


@dataclass(frozen=True)
class Exactness:
    """Distance of a sampler from R / Z, in the worst fact where it is computed per fact."""

    total_variation: float
    total_variation_untrained: float
    log_z_error: float | None  # |log F(s_0) − log Z| in nats; None if the objective learns no Z
    log_z_bound_gap: float  # log Z − E_{P_F}[log R − log P_F], which is KL(P_F ‖ R/Z), in nats
    slope: float  # least squares of log P_F on log R over all questions, centered per fact
    n_questions: int
    probability_mass: float  # Σ P_F over all questions; below 1 if the environment leaks
    seconds: float

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the fields by name, for JSON."""
        return asdict(self)


def run_exact(
    settings: ExactSettings, objective: Objective | StepLoss, on_step: StepHook | None = None
) -> Exactness:
    """Train on the table through policy, experience, replay, objective and Lightning; measure.

    Args:
        objective: alone, or with the forward KL beside it.
        on_step: called after each optimizer step.
    """
    loss = objective if isinstance(objective, StepLoss) else StepLoss(objective)
    started = time.monotonic()
    space = make_space(
        architecture=settings.architecture,
        n_tokens=settings.vocab,
        max_len=settings.max_len,
        reward=settings.reward,
        seed=settings.seed,
    )
    untrained = max(_total_variation(space, fact) for fact in FACTS)
    _fit(space, settings, loss, on_step)
    return _measure(space, loss.objective, untrained, time.monotonic() - started)


def exploration_of(settings: ExactSettings, objective: Objective) -> ExplorationConfig:
    """Return how an experiment samples."""
    own = {item.name for item in fields(settings)}
    names = [item.name for item in fields(ExplorationConfig) if item.name in own]
    chosen = {name: getattr(settings, name) for name in names}
    if objective.on_policy:
        chosen |= {"use_buffer_prob": 0.0, "pf_temp_prob": 0.0}
    return replace(EXPLORATION, **chosen)


def _fit(space: Space, settings: ExactSettings, loss: StepLoss, on_step: StepHook | None) -> None:
    replay = MemoryReplay(
        "exact", ReplayConfig(capacity_per_fact=len(space.questions), near_duplicate=0.0)
    )
    exploration = exploration_of(settings, loss.objective)
    experience = Experience(
        space.policy, space.scorer, replay, space.reward, exploration, seed=settings.seed
    )
    optimizer = OptimizerConfig(
        lr=settings.lr, flow_lr=settings.flow_lr, log_z_lr=settings.log_z_lr, final_lr_share=0.005
    )
    module = SamplerModule(
        space.policy, experience, space.reward, loss, optimizer, n_steps=settings.n_steps
    )
    stream = FactStream(FACTS, len(FACTS), settings.n_steps, settings.seed)
    with _quiet_lightning():
        _trainer(settings.n_steps, on_step).fit(module, stream)


def _trainer(n_steps: int, on_step: StepHook | None) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        max_steps=n_steps,
        gradient_clip_val=1.0,
        callbacks=[] if on_step is None else [_AfterEachStep(on_step)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _AfterEachStep(L.Callback):
    def __init__(self, hook: StepHook) -> None:
        self.hook = hook

    def on_train_batch_end(self, *_: object) -> None:
        self.hook()


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence warnings and Lightning's log within the block."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _total_variation(space: Space, fact: Fact) -> float:
    log_pf, _ = space.log_pf(fact)
    return _distance(log_pf, space.log_reward(fact))


def _distance(log_pf: Float[Tensor, " q"], log_reward: Float[Tensor, " q"]) -> float:
    """Total variation distance between P_F and R / Z."""
    return 0.5 * float((log_pf.exp() - log_reward.softmax(0)).abs().sum())


def _measure(space: Space, objective: Objective, untrained: float, seconds: float) -> Exactness:
    distances: list[float] = []
    log_z_errors: list[float] = []
    bound_gaps: list[float] = []
    masses: list[float] = []
    centered_log_reward: list[Tensor] = []
    centered_log_pf: list[Tensor] = []
    for fact in FACTS:
        log_reward = space.log_reward(fact)
        log_pf, log_flow = space.log_pf(fact)
        log_z = float(log_reward.logsumexp(0))
        bound = float((log_pf.exp() * (log_reward - log_pf)).sum())
        distances.append(_distance(log_pf, log_reward))
        log_z_errors.append(abs(log_flow - log_z))
        bound_gaps.append(log_z - bound)
        masses.append(float(log_pf.exp().sum()))
        centered_log_reward.append(log_reward - log_reward.mean())
        centered_log_pf.append(log_pf - log_pf.mean())
    x = torch.cat(centered_log_reward)
    y = torch.cat(centered_log_pf)
    return Exactness(
        total_variation=max(distances),
        total_variation_untrained=untrained,
        log_z_error=max(log_z_errors) if objective.uses_flow else None,
        log_z_bound_gap=max(bound_gaps),
        slope=float((x * y).sum() / x.square().sum()),
        n_questions=len(space.questions),
        probability_mass=min(masses),
        seconds=seconds,
    )
