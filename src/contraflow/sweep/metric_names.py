"""The metrics that a run will have, so that a sweep by any other is refused before its first run.

Named here without torch, which takes seconds to import; a test compares them with a run's history.
"""

from __future__ import annotations

from contraflow.errors import UserError
from contraflow.evaluation.definitions import DEFINITIONS
from contraflow.settings import Config
from contraflow.settings.keys import suggestion
from contraflow.settings.learning import WITH_FLOW

VALIDATION = ("val_elbo", "val_log_reward", "val_log_contradiction", "val_log_p_question")
# Of each step, in the order of history.jsonl (`training/step_metrics.py`).
_STEP = (
    "loss",
    "log_reward",
    "log_pf",
    "log_contradiction",
    "log_p_question",
    "log_p_answer",
    "log_entailment",
    "question_ok",
    "strict_success",
    "question_tokens",
    "distinct",
    "var_log_ratio",
    "pf_temp",
    "replay_share",
    "staleness",
    "elbo",
    "log_z_mc",
    "eubo",
    "ess",
    "slope",
    "rank_correlation",
    "fcs",
    "prefix_entropy",
    "length_reward_correlation",
    "reward_temp",
    "grad_norm",
    "learning_rate",
    "step_seconds",
)
_OF_FLOW = ("log_z", "log_z_gap")
_OF_FORWARD_KL = ("forward_kl_share",)
EVALUATION = tuple(definition.name for definition in DEFINITIONS)
ANY_HISTORY = (*VALIDATION, *_STEP, *_OF_FLOW, *_OF_FORWARD_KL)


def history_metrics(config: Config) -> tuple[str, ...]:
    """The metrics in history.jsonl of a run."""
    flow = _OF_FLOW if config.objective.name in WITH_FLOW else ()
    forward_kl = _OF_FORWARD_KL if config.objective.uses_forward_kl else ()
    return (*VALIDATION, *_STEP, *flow, *forward_kl)


def require_metric_name(key: str, name: str, *, evaluated: bool) -> None:
    """Check that runs have such a metric.

    evaluated: also accept the metrics of `evaluation/after.json`. Raises: UserError.
    """
    known = [*(EVALUATION if evaluated else ()), *ANY_HISTORY]
    if name not in known:
        of_evaluation = f"{', '.join(EVALUATION)} of the evaluation; " if evaluated else ""
        raise UserError(
            f"{key}={name}: no such metric{suggestion(name, known)}; there are {of_evaluation}"
            f"{', '.join(VALIDATION)} and the metrics of each step in history.jsonl"
        )


def require_metric_of_run(key: str, name: str, config: Config, *, evaluated: bool) -> None:
    """Check that the run of a config will have a metric that some runs have. Raises: UserError."""
    if name in history_metrics(config):
        return
    if name in _OF_FLOW:
        raise UserError(
            f"{key}={name}: objective={config.objective.name} learns no log Z; "
            f"use {', '.join(WITH_FLOW)}, or another metric"
        )
    if name in _OF_FORWARD_KL:
        raise UserError(f"{key}={name}: only runs with objective.forward_kl have it")
    if evaluated and not config.evaluation.enabled:
        raise UserError(
            f"{key}={name}: a metric of the evaluation, which evaluation.enabled=false leaves out; "
            f"use true, or one of {', '.join(VALIDATION)}"
        )
