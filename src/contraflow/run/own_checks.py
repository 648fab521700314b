"""Check a caller's own judge, objective and reward before any model loads."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.reward.judge.scores import LABELS, NliScores
from contraflow.reward.schedule import RewardSchedule
from contraflow.run.own_objects import OwnObjects, has_address, shown_object
from contraflow.settings import Config, check_own_draws

_PAIRS = {
    "Rome is the capital of France.": "Paris is the capital of France.",
    "Hamlet was written by Christopher Marlowe.": "Christopher Marlowe wrote Hamlet.",
}
_OF_OBJECTIVE = ("uses_flow", "needs_prefix_rewards", "needs_tokens", "on_policy")
_ROUNDING = 1e-3  # a log-probability in half precision may be that much above 0
_OFF_ONE = 0.02  # of three probabilities in half precision


def check_own(caller: str, own: OwnObjects) -> None:
    """Check that objects do what they stand for; a judge is asked about two pairs.

    Raises: UserError naming the function ``caller``, the argument, and what is missing.
    """
    for role, given in own.given.items():
        if isinstance(given, type):
            raise UserError(
                f"{caller}: {role}={given.__name__}: is a class; give an object of it, such as "
                f"{given.__name__}()"
            )
    if own.judge is not None:
        _check_judge(f"{caller}: judge={_kind(own.judge)}", own.judge)
    if own.objective is not None:
        _check_objective(f"{caller}: objective={_kind(own.objective)}", own.objective)
    if own.reward is not None:
        _check_reward(f"{caller}: reward={_kind(own.reward)}", own.reward)


def check_own_of_run(own: OwnObjects, config: Config) -> None:
    """Check what a training run asks of the objects that it is given.

    Raises: UserError where its settings do not go with them, or they would have to travel to the
        processes of actors.
    """
    check_own("train", own)
    if own.given and config.exchange.kind == "actors":
        raise UserError(
            f"train: {next(iter(own.given))}=…: exchange.kind=actors scores in processes that know "
            "only the config; choose scatter, broadcast or symmetric with torchrun, or one process"
        )
    if own.objective is not None and own.objective.on_policy:
        check_own_draws(config.exploration, f"objective={shown_object(own.objective)}")


def _kind(given: object) -> str:
    return type(given).__name__


def _check_judge(where: str, judge: Any) -> None:
    if not callable(getattr(judge, "score", None)):
        raise UserError(
            f"{where}: has no method score(premises, hypotheses); write one that returns "
            "contraflow.reward.judge.NliScores"
        )
    _check_identity(where, judge)
    reason = _wrong_scores(judge.score(list(_PAIRS), list(_PAIRS.values())), len(_PAIRS))
    if reason is not None:
        raise UserError(
            f"{where}: score() of {len(_PAIRS)} pairs {reason}; return NliScores(log_probs) with "
            f"natural log-probabilities, one row per pair, in the columns {', '.join(LABELS)}"
        )


def _wrong_scores(scores: Any, n: int) -> str | None:
    """What is wrong with the scores of n pairs."""
    if not isinstance(scores, NliScores):
        return f"returned a {_kind(scores)}"
    log_probs: Any = scores.log_probs
    if not isinstance(log_probs, Tensor) or log_probs.shape != (n, len(LABELS)):
        shape = list(log_probs.shape) if isinstance(log_probs, Tensor) else _kind(log_probs)
        return f"has log_probs {shape} in place of {[n, len(LABELS)]}"
    values = log_probs.detach().double()
    if not torch.isfinite(values).all():
        return "has log_probs that are no finite numbers"
    if (values > _ROUNDING).any():
        return "has log_probs above 0"
    if ((values.exp().sum(1) - 1).abs() > _OFF_ONE).any():
        return "has rows of log_probs whose probabilities do not add up to 1 (raw logits?)"
    return None


def _check_identity(where: str, given: Any) -> None:
    identity = getattr(given, "identity", None)
    if not isinstance(identity, str) or not identity.strip():
        raise UserError(
            f"{where}: has no identity, under which its scores are kept; give it an attribute "
            "`identity`, a text that changes whenever its scores could"
        )
    if identity != given.identity or has_address(identity):
        raise UserError(
            f"{where}: identity={identity[:60]!r} is another text each time, and kept scores would "
            "never be found again; make it a text that changes only with the scores"
        )


def _check_objective(where: str, objective: Any) -> None:
    if not callable(objective):
        raise UserError(
            f"{where}: cannot be called; write __call__(potentials, group, weight=None), which "
            "returns the loss, as contraflow.gflownet.objectives.Objective says"
        )
    if not callable(getattr(objective, "terms", None)):
        raise UserError(
            f"{where}: has no method terms(group), the number of terms that its loss is the mean "
            "of; inherit contraflow.gflownet.objectives.MeanOverQuestions, or write it"
        )
    for name in _OF_OBJECTIVE:
        if not isinstance(getattr(objective, name, None), bool):
            raise UserError(
                f"{where}: has no {name}, which is True or False; inherit "
                "contraflow.gflownet.objectives.MeanOverQuestions, or set it"
            )
    if isinstance(objective, nn.Module) and list(objective.parameters()):
        raise UserError(
            f"{where}: has parameters, which no optimizer trains; make them constants, or train "
            "the flow head in their place (uses_flow)"
        )
    if hasattr(objective, "identity"):
        _check_identity(where, objective)


def _check_reward(where: str, reward: Any) -> None:
    if not isinstance(reward, RewardSchedule):
        raise UserError(
            f"{where}: is no reward schedule; make its class a dataclass that inherits "
            "contraflow.reward.schedule.RewardSchedule"
        )
    try:
        # Validation takes the temperature out of the reward in this way.
        dataclasses.replace(reward, reward_temp_start=1.0, reward_temp_end=1.0)
    except TypeError as error:
        raise UserError(
            f"{where}: cannot be copied with another temperature ({error}); make its class a "
            "dataclass that inherits contraflow.reward.schedule.RewardSchedule"
        ) from None
    if type(reward) is RewardSchedule:
        raise UserError(f"{where}: is the package's own; set reward.… in the config instead")
    _check_identity(where, reward)
