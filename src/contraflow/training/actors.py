"""The learner with the exchange: what is opened before its first step, and written at its end."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import msgspec

from contraflow.actors.build import ActorPlan, build_worker, exchange_settings
from contraflow.actors.exchange import Exchange
from contraflow.actors.experience import LearnerExperience
from contraflow.actors.ledger import Ledger
from contraflow.distributed.scorer import SharedScorer
from contraflow.errors import UserError
from contraflow.experience.density import RATIO_LIMIT
from contraflow.run.replay import open_replay
from contraflow.settings import Config, ExchangeConfig
from contraflow.settings.learning import POLICY_GRADIENTS
from contraflow.system.files import write_atomically
from contraflow.system.progress import print_line
from contraflow.training.rank import Learner

EXCHANGE_FILE = "exchange.json"


def open_actors(learner: Learner, namespace: str) -> LearnerExperience | None:
    """Start the actors of a learner in the joined Ray cluster; None for another exchange.

    Raises: UserError where replay cannot be opened.
    """
    config = learner.config
    if config.exchange.kind != "actors":
        return None
    from contraflow.actors.ray_pool import RayPool

    parts = learner.parts
    plan = ActorPlan.of(config, parts, learner.train_facts, learner.replay, namespace)
    exchange = exchange_settings(config)
    if config.objective.name in POLICY_GRADIENTS:
        print_line(ratio_note(config))
    pool = RayPool(exchange, partial(build_worker, plan))
    ranks = learner.ranks
    return LearnerExperience(
        parts.policy,
        SharedScorer(parts.policy, parts.oracle, parts.judge, ranks),
        # A client of its own: resuming adds what the store lacks, and takes away nothing.
        open_replay(config, namespace, url=plan.replay_url),
        parts.reward,
        config.exploration,
        seed=config.seed,
        exchange=Exchange(_ledger(learner, exchange), pool, exchange),
        facts=learner.train_facts,
        capacity_per_fact=config.replay.capacity_per_fact,
        ranks=ranks,
    )


def _ledger(learner: Learner, exchange: ExchangeConfig) -> Ledger:
    """A ledger of steps of all ranks, and of assignments of as many facts as one rank's."""
    n_facts = len(learner.train_facts)
    own = learner.config.trainer.facts_per_step
    of_all = min(own * learner.ranks.size, n_facts)
    return Ledger(exchange, of_all, facts_per_assignment=min(own, n_facts))


def ratio_note(config: Config) -> str:
    """A line on how a policy gradient learns from actors."""
    return (
        f"objective={config.objective.name} with actors: questions of older versions weigh "
        f"P_F / q, at most {RATIO_LIMIT:g}; stored ones are left out, so exchange.newest_share has "
        "no effect"
    )


def close_actors(experience: LearnerExperience, folder: Path) -> None:
    """End the actors, and write and log what the exchange has counted since this start."""
    exchange = experience.exchange
    rates = exchange.meter.overall()
    totals = exchange.meter.totals()
    counts = exchange.counts()
    exchange.close()
    experience.replay.close()
    n_learners = experience.ranks.size
    sizes = {"actors": exchange.pool.size, "learners": n_learners}
    record = {**sizes, **asdict(counts), **asdict(totals), **asdict(rates)}
    try:
        path = folder / EXCHANGE_FILE
        write_atomically(path, msgspec.json.format(msgspec.json.encode(record)))
    except UserError as error:
        print_line(str(error))
    print_line(
        f"{_actors(exchange.pool.size)} {totals.questions} questions "
        f"({rates.questions_per_second:.1f} a second), idle {rates.actors_idle:.0%} of the "
        f"time, {_learners(n_learners)} {rates.learner_idle:.0%}; restarts {counts.restarts}, "
        f"facts too late to be learned {counts.expired}"
    )


def _actors(n: int) -> str:
    return "1 actor scored" if n == 1 else f"{n} actors scored"


def _learners(n: int) -> str:
    return "the learner" if n == 1 else f"the {n} learners"
