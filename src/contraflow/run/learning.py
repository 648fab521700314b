"""Build what a run learns by from its config: the objective, its penalty, and how it samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from contraflow.gflownet.objectives import (
    ContrastiveTB,
    DetailedBalance,
    ModifiedSubTB,
    Objective,
    SubTB,
    TrajectoryBalance,
    VarGrad,
)
from contraflow.gflownet.penalties import Linex, Penalty, ShiftedCosh, Square
from contraflow.gflownet.policy_gradient import Grpo, Rloo
from contraflow.settings import Config, ExplorationConfig, ObjectiveConfig
from contraflow.settings.learning import POLICY_GRADIENTS


def build_objective(config: Config) -> Objective:
    """The objective of a config."""
    lam = config.objective.lam
    penalty = build_penalty(config.objective)
    makers: dict[str, Callable[[], Objective]] = {
        "subtb": lambda: SubTB(lam, penalty=penalty),
        "tb": lambda: TrajectoryBalance(penalty),
        "db": lambda: DetailedBalance(penalty),
        "vargrad": lambda: VarGrad(penalty),
        "modified_subtb": lambda: ModifiedSubTB(lam, penalty),
        "ctb": lambda: ContrastiveTB(penalty),
        "rloo": Rloo,
        "grpo": lambda: Grpo(config.objective.beta),
    }
    return makers[config.objective.name]()


def build_penalty(settings: ObjectiveConfig) -> Penalty:
    """The penalty of residuals that `objective.penalty` names."""
    makers: dict[str, Callable[[], Penalty]] = {
        "square": lambda: Square(settings.bound),
        "huber": lambda: Square(settings.bound),
        "linex": lambda: Linex(settings.bound, settings.alpha),
        "shifted_cosh": lambda: ShiftedCosh(settings.bound),
    }
    return makers[settings.penalty]()


def build_exploration(config: Config, objective: Objective | None = None) -> ExplorationConfig:
    """How a run samples. Policy gradients need draws of the policy itself at temperature 1.

    Args:
        objective: of the caller's own; None for that of the config.
    """
    named = config.objective.name in POLICY_GRADIENTS
    if not (named if objective is None else objective.on_policy):
        return config.exploration
    return replace(config.exploration, use_buffer_prob=0.0, pf_temp_prob=0.0)
