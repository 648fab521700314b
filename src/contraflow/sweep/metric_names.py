"""The metrics that a run will have, and which way each is better.

A sweep by any other is refused before its first run. Named here without torch, which takes seconds
to import; a test compares them with a run's history.
"""

from __future__ import annotations

from contraflow.errors import UserError
from contraflow.evaluation.definitions import DEFINITIONS, Better
from contraflow.settings import Config
from contraflow.settings.keys import suggestion
from contraflow.settings.learning import WITH_FLOW

VALIDATION = ("val_elbo", "val_log_reward", "val_log_contradiction", "val_log_p_question")
# Of each step, in the order of history.jsonl (`training/step_metrics.py`).
_STEP: dict[str, Better] = {
    "loss": "lower",
    "log_reward": "higher",
    "log_pf": "neutral",
    "log_contradiction": "higher",
    "log_p_question": "higher",
    "log_p_answer": "higher",
    "log_entailment": "higher",
    "question_ok": "higher",
    "strict_success": "higher",
    "question_tokens": "neutral",
    "distinct": "higher",
    "var_log_ratio": "zero",
    "pf_temp": "neutral",
    "replay_share": "neutral",
    "staleness": "neutral",
    "elbo": "higher",
    "log_z_mc": "neutral",
    "eubo": "lower",
    "ess": "higher",
    "slope": "one",
    "rank_correlation": "one",
    "fcs": "lower",
    "prefix_entropy": "higher",
    "length_reward_correlation": "zero",
    "reward_temp": "neutral",
    "grad_norm": "neutral",
    "learning_rate": "neutral",
    "step_seconds": "lower",
}
_OF_FLOW: dict[str, Better] = {"log_z": "neutral", "log_z_gap": "zero"}
_OF_FORWARD_KL: dict[str, Better] = {"forward_kl_share": "neutral"}
EVALUATION = tuple(definition.name for definition in DEFINITIONS)
ANY_HISTORY = (*VALIDATION, *_STEP, *_OF_FLOW, *_OF_FORWARD_KL)
BETTER: dict[str, Better] = {
    **dict.fromkeys(VALIDATION, "higher"),
    **_STEP,
    **_OF_FLOW,
    **_OF_FORWARD_KL,
    **{definition.name: definition.better for definition in DEFINITIONS},
}
_BEST = {
    "higher": "the highest",
    "lower": "the lowest",
    "one": "the one nearest to 1",
    "zero": "the one nearest to 0",
}


def worth_of(name: str, value: float) -> float:
    """A number of a metric as one that is better the higher it is.

    Of a metric with a target it is the distance to the target, negated.
    """
    better = BETTER.get(name, "higher")
    if better == "lower":
        return -value
    if better in ("one", "zero"):
        return -abs(value - (better == "one"))
    return value


def best_of(name: str) -> str:
    """Which number of a metric is the best, in words."""
    return _BEST[BETTER[name]]


def history_metrics(config: Config) -> tuple[str, ...]:
    """The metrics in history.jsonl of a run."""
    flow = tuple(_OF_FLOW) if config.objective.name in WITH_FLOW else ()
    forward_kl = tuple(_OF_FORWARD_KL) if config.objective.uses_forward_kl else ()
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
    """Check that the run of a config will have a metric that some runs have, and can be ranked by.

    Raises: UserError.
    """
    _require_there(key, name, config, evaluated=evaluated)
    if BETTER[name] == "neutral":
        raise UserError(
            f"{key}={name}: is neither better when it is high nor when it is low; choose another, "
            f"such as {VALIDATION[0]}"
        )


def _require_there(key: str, name: str, config: Config, *, evaluated: bool) -> None:
    # Steps have metrics of the same names, which are of one batch of training facts.
    of_step = not evaluated or config.evaluation.enabled or name not in EVALUATION
    if of_step and name in history_metrics(config):
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
