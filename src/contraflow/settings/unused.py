"""Keys that the other choices of a run leave without effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from contraflow.errors import UserError, on_one_line
from contraflow.settings import Config
from contraflow.settings.keys import override_key
from contraflow.settings.learning import BALANCE, SUB_TRAJECTORIES, WITH_FLOW
from contraflow.system.addresses import safe_url


@dataclass(frozen=True)
class _Use:
    """Some keys, and whether a config uses them."""

    keys: tuple[str, ...]
    because: Callable[[Config], str]  # the setting that decides, as key=value
    users: str  # what uses them, for a message
    is_used: Callable[[Config], bool]


def _objective(config: Config) -> str:
    return f"objective.name={config.objective.name}"


_USES = (
    _Use(
        ("objective.lam",),
        _objective,
        f"objective={', '.join(SUB_TRAJECTORIES)} use it",
        lambda c: c.objective.name in SUB_TRAJECTORIES,
    ),
    _Use(
        ("objective.beta",),
        _objective,
        "objective=grpo uses it",
        lambda c: c.objective.name == "grpo",
    ),
    _Use(
        ("objective.forward_looking", "optimizer.flow_lr", "optimizer.log_z_lr"),
        _objective,
        f"objectives with a flow use it: {', '.join(WITH_FLOW)}",
        lambda c: c.objective.name in WITH_FLOW,
    ),
    _Use(
        ("exploration.correct_replay",),
        _objective,
        f"it weights replayed questions, which only objective={', '.join(BALANCE)} learn from",
        lambda c: not c.exploration.correct_replay or c.objective.name in BALANCE,
    ),
    _Use(
        ("objective.alpha",),
        lambda c: f"objective.penalty={c.objective.penalty}",
        "objective.penalty=linex uses it",
        lambda c: c.objective.penalty == "linex",
    ),
    _Use(
        (
            "objective.penalty",
            "objective.bound",
            "objective.alpha",
            "objective.lam",
            "objective.forward_looking",
            "optimizer.flow_lr",
            "optimizer.log_z_lr",
            "exploration.count_repeats",
        ),
        lambda _: "objective.forward_kl=1",
        "it is of the balance loss, which has no share then",
        lambda c: c.objective.has_balance,
    ),
    _Use(
        ("exploration.distinct_weights",),
        lambda _: "objective.forward_kl=1",
        "the forward KL takes inclusion weights",
        lambda c: c.objective.has_balance or c.exploration.distinct_weights != "equal",
    ),
    _Use(
        ("exploration.count_repeats",),
        lambda _: "exploration.distinct=true",
        "no question of a fact is drawn twice",
        lambda c: not c.exploration.distinct,
    ),
    _Use(
        ("exploration.use_buffer_prob",),
        lambda _: "exchange.kind=actors",
        "exchange.newest_share says how much of a batch is new",
        lambda c: c.exchange.kind != "actors",
    ),
    _Use(
        ("replay.near_duplicate_by",),
        lambda _: "replay.near_duplicate=0",
        "it says which questions are near duplicates",
        lambda c: c.replay.near_duplicate > 0,
    ),
    _Use(
        ("objective.forward_kl_horizon", "objective.forward_kl_power"),
        lambda c: f"objective.forward_kl={c.objective.forward_kl:g}",
        "it is of the forward KL term, which needs a share",
        lambda c: c.objective.uses_forward_kl,
    ),
    _Use(
        ("objective.forward_kl_horizon",),
        lambda _: "objective.forward_kl_end=null",
        "it is the time in which the share becomes forward_kl_end",
        lambda c: not c.objective.uses_forward_kl or c.objective.forward_kl_end is not None,
    ),
    _Use(
        ("reward.penalized_reward_end_step",),
        lambda c: f"reward.kind={c.reward.kind}",
        "reward=hybrid uses it",
        lambda c: c.reward.kind == "hybrid",
    ),
    _Use(
        ("reward.failure_penalty", "reward.contradiction_threshold"),
        lambda c: f"reward.kind={c.reward.kind}",
        "reward=hybrid and penalized use it",
        lambda c: c.reward.kind != "static",
    ),
    _Use(
        ("reward.reward_temp_start",),
        lambda _: "reward.reward_temp_horizon=0",
        "the temperature is reward.reward_temp_end from the first step on",
        lambda c: c.reward.reward_temp_horizon > 0,
    ),
    _Use(
        ("exploration.pf_temp_low", "exploration.pf_temp_high"),
        lambda _: "exploration.pf_temp_prob=0",
        "it is of the steps that sample at another temperature than 1",
        lambda c: c.exploration.pf_temp_prob > 0,
    ),
    _Use(
        ("exploration.correct_replay",),
        lambda _: "exploration.use_buffer_prob=0",
        "it weights steps that are replayed",
        lambda c: not c.exploration.correct_replay or c.exploration.use_buffer_prob > 0,
    ),
    _Use(
        (
            "evaluation.n_samples",
            "evaluation.temperature",
            "evaluation.untrained",
            "evaluation.subject_only_baseline",
            "evaluation.distinct",
            "evaluation.proportion_of",
            "evaluation.training_facts",
            "evaluation.target_facts",
            "evaluation.target_samples",
        ),
        lambda _: "evaluation.enabled=false",
        "it is of the evaluation",
        lambda c: c.evaluation.enabled,
    ),
    _Use(
        ("exploration.distinct_weights",),
        lambda _: "exploration.distinct=false",
        "exploration.distinct=true and exploration.prior_share use it",
        lambda c: c.exploration.distinct or c.exploration.n_prior > 0,
    ),
    _Use(
        ("replay.sampling_temp",),
        lambda c: f"replay.sampling={c.replay.sampling}",
        "replay.sampling=reward uses it",
        lambda c: c.replay.sampling == "reward",
    ),
    _Use(
        (
            "exchange.actors",
            "exchange.address",
            "exchange.newest_share",
            "exchange.publish_every",
            "exchange.max_staleness",
            "exchange.max_reuse",
            "exchange.actor_cpus",
            "exchange.actor_gpus",
        ),
        lambda c: f"exchange.kind={c.exchange.kind}",
        "exchange=actors uses it",
        lambda c: c.exchange.kind == "actors",
    ),
)


def require_used_url(config: Config) -> None:
    """Refuse the URL of a server that the run would not use. Raises: UserError."""
    replay = config.replay
    if replay.url is not None and replay.store != "redis":
        url = on_one_line(safe_url(replay.url))
        raise UserError(
            f"replay.url={url}: replay.store={replay.store} does not use it; "
            "add replay=redis, or leave the URL out"
        )


def unused_keys(overrides: Iterable[str], config: Config) -> dict[str, str]:
    """Return a line for each key that overrides set and that their config leaves without effect.

    Presets may set such keys: another choice of the user can leave them so.
    """
    found: dict[str, str] = {}
    typed = {override_key(override) for override in overrides}
    for use in _USES:
        if not use.is_used(config):
            for key in typed.intersection(use.keys):
                found[key] = f"{key} has no effect with {use.because(config)}; {use.users}"
    return found
