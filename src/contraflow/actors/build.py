"""The worker of an actor, from what the learner's process knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from contraflow.actors.worker import Worker
from contraflow.errors import UserError
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.replay.base import ReplayStore
from contraflow.replay.connection import unavailable
from contraflow.replay.retry import RetryWithBackoff
from contraflow.run.build import Parts, assemble, build_reward
from contraflow.run.fingerprint import sampler_fingerprint as fingerprint_of
from contraflow.run.learning import build_exploration
from contraflow.run.replay import open_replay, replay_namespace
from contraflow.settings import Config, ExchangeConfig
from contraflow.settings.learning import POLICY_GRADIENTS
from contraflow.system import progress
from contraflow.system.versions import versions_of


@dataclass(frozen=True)
class ActorPlan:
    """What an actor needs. It goes from process to process by Ray, and into no file or log.

    config: without the address of replay. namespace: of replay, as the run folder has it. models:
    the namespace that the learner's models give, which an actor's must give too. sampler: the
    fingerprint on scored questions.
    """

    config: Config
    facts: Sequence[Fact]
    namespace: str
    models: str
    sampler: str
    version: str  # of contraflow
    replay_url: str = field(repr=False)  # may hold a password

    @classmethod
    def of(
        cls,
        config: Config,
        parts: Parts,
        facts: Sequence[Fact],
        replay: ReplayStore,
        namespace: str,
    ) -> ActorPlan:
        """The plan of a learner that holds these parts and has opened this replay."""
        assert parts.oracle is not None and parts.judge is not None
        url = getattr(replay, "url", config.replay.url)
        assert isinstance(url, str)  # replay=memory is refused
        models = replay_namespace(config, parts.policy, parts.oracle, parts.judge)
        sampler = fingerprint_of(config)
        return cls(_for_actor(config), tuple(facts), namespace, models, sampler, _version(), url)


def build_worker(plan: ActorPlan) -> Worker:
    """Load the models of an actor and connect it to replay.

    Raises: UserError where this machine has another contraflow or other models than the learner's.
    """
    if plan.version != _version():
        raise UserError(
            f"an actor runs contraflow {_version()} and the learner {plan.version}: install the "
            "same on all machines of the Ray cluster"
        )
    progress.console.quiet = True
    config = plan.config
    torch.set_num_threads(max(1, int(config.exchange.actor_cpus)))
    parts = assemble(config, adapter="fresh")
    assert parts.oracle is not None and parts.judge is not None
    if replay_namespace(config, parts.policy, parts.oracle, parts.judge) != plan.models:
        raise UserError(
            "an actor's sampler, oracle or judge has other weights than the learner's: put the "
            "same folders, or the same versions of packages, on all machines of the Ray cluster"
        )
    return Worker(
        parts.policy,
        Scorer(parts.policy, parts.oracle, parts.judge, sampler=plan.sampler),
        open_patiently(config, plan.namespace, plan.replay_url),
        build_reward(config),
        build_exploration(config),
        plan.facts,
        facts_per_step=config.trainer.facts_per_step,
        seed=config.seed,
        sends_density=config.objective.uses_forward_kl or _is_policy_gradient(config),
    )


def open_patiently(config: Config, namespace: str, url: str) -> ReplayStore:
    """Open the replay of a run that goes on, whose server may be away just now.

    Raises: UserError where it is away for longer than `replay.patience_s`, or refuses this client.
    """
    retry = RetryWithBackoff(
        config.replay.patience_s, progress.print_plain, "the replay server", _state, lambda: None
    )
    return retry.call(lambda: open_replay(config, namespace, url=url))


def _state(error: Exception) -> str | None:
    """The state of a server behind the error that a user would see."""
    cause = error.__context__
    return unavailable(cause) if isinstance(cause, Exception) else None


def exchange_settings(config: Config) -> ExchangeConfig:
    """The settings of a run's exchange.

    Stored questions were chosen, not drawn: they have no density, and a policy gradient cannot
    learn from them. So all of its questions are fresh.
    """
    if _is_policy_gradient(config):
        return replace(config.exchange, newest_share=1.0)
    return config.exchange


def _is_policy_gradient(config: Config) -> bool:
    return config.objective.name in POLICY_GRADIENTS


def _for_actor(config: Config) -> Config:
    """The config of an actor.

    Its device is what Ray gives it, whose GPUs are the visible ones. The adapter comes with the
    first version. The limits of a served oracle are divided among the actors.
    """
    device = "cuda" if config.exchange.actor_gpus > 0 else "cpu"
    n = config.exchange.actors
    served = replace(
        config.oracle.served,
        max_requests=_share(config.oracle.served.max_requests, n),
        max_tokens_total=_share(config.oracle.served.max_tokens_total, n),
    )
    return replace(
        config,
        model=replace(config.model, device=device, adapter=None),
        oracle=replace(config.oracle, served=served),
        replay=replace(config.replay, store="embedded", url=None),
    )


def _share(limit: int | None, n: int) -> int | None:
    return None if limit is None else max(1, limit // n)


def _version() -> str:
    return str(versions_of(["contraflow"])["contraflow"])
