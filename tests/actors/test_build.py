"""What an actor is built from, and what of it must not be seen."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from contraflow.actors.build import (
    ActorPlan,
    build_worker,
    exchange_settings,
    open_patiently,
)
from contraflow.errors import UserError
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.run.build import Parts, assemble
from contraflow.settings import ExchangeConfig, ObjectiveConfig, OracleConfig, ReplayConfig
from contraflow.settings.served import ServedConfig
from contraflow.system import progress
from contraflow.training.actors import _actors, ratio_note
from support.actors import replay_port
from support.facts import FACTS
from support.runs import tiny_config, use_tiny_parts
from support.stalling import StallingProxy

SECRET = "hunter2-and-more"


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress.console, "quiet", progress.console.quiet)
    use_tiny_parts(monkeypatch.setattr)
    config = tiny_config(
        tmp_path,
        exchange=ExchangeConfig(kind="actors", actors=4),
        replay=ReplayConfig(store="embedded"),
        oracle=OracleConfig(served=ServedConfig(max_requests=10, max_tokens_total=2)),
    )
    with EmbeddedReplay("test", config.replay, tmp_path) as replay:
        yield ActorPlan.of(config, assemble(config, adapter="fresh"), FACTS, replay, "test")


def test_a_worker_samples_scores_and_admits_with_its_version(plan: ActorPlan):
    from contraflow.actors.messages import Assignment
    from contraflow.actors.weights import weights_of

    worker = build_worker(plan)
    policy = worker.experience.policy
    assert isinstance(policy, LoraPolicy) and policy.has_adapter
    worker.load(3, weights_of(policy))
    report = worker.collect(Assignment(7, 3, 30))
    assert {s.step for s in report.batch.scored} == {30}
    assert {s.sampler for s in report.batch.scored} == {plan.sampler}
    assert worker.experience.replay.size() > 0
    assert worker.collect(Assignment(7, 3, 30)).batch.scored == report.batch.scored
    assert worker.collect(Assignment(8, 3, 30)).batch.scored != report.batch.scored
    with pytest.raises(ValueError, match="version 3 is loaded, 4 was assigned"):
        worker.collect(Assignment(9, 4, 40))


@pytest.mark.parametrize(
    ("objective", "sends"),
    [
        (ObjectiveConfig(), False),
        (ObjectiveConfig(forward_kl=0.0, forward_kl_end=0.5), True),
        (ObjectiveConfig(name="rloo"), True),
        (ObjectiveConfig(name="grpo"), True),
    ],
)
def test_actors_send_densities_to_losses_that_ask(
    plan: ActorPlan, objective: ObjectiveConfig, sends: bool
):
    worker = build_worker(replace(plan, config=replace(plan.config, objective=objective)))
    assert worker.sends_density == sends


def test_a_policy_gradient_learns_from_plain_draws_only(plan: ActorPlan):
    config = replace(plan.config, objective=ObjectiveConfig(name="rloo"))
    assert config.exploration.pf_temp_prob > 0
    assert build_worker(replace(plan, config=config)).experience.settings.pf_temp_prob == 0
    assert exchange_settings(config) == replace(config.exchange, newest_share=1.0)
    assert exchange_settings(plan.config).newest_share == 0.75
    assert "stored ones are left out" in ratio_note(config)


def test_limits_of_a_served_oracle_are_divided_among_actors(plan: ActorPlan):
    served = plan.config.oracle.served
    assert (served.max_requests, served.max_tokens_total) == (2, 1)


def test_other_models_than_the_learners_are_refused(plan: ActorPlan):
    with pytest.raises(UserError, match="other weights than the learner's"):
        build_worker(replace(plan, models="0" * 24))


def test_another_version_of_contraflow_is_refused(plan: ActorPlan):
    with pytest.raises(UserError, match=r"and the learner 0\.0\.1: install the same"):
        build_worker(replace(plan, version="0.0.1"))


@pytest.mark.usefixtures("plan")
def test_a_password_in_the_url_is_in_no_text_of_the_plan(tmp_path: Path):
    url = f"redis://:{SECRET}@host:6379/0"
    config = tiny_config(tmp_path, replay=ReplayConfig(store="redis", url=url))
    parts: Parts = assemble(config, adapter="fresh")
    store = object()
    secret = ActorPlan.of(config, parts, FACTS, store, "test")  # type: ignore[arg-type]
    assert secret.replay_url == url
    assert SECRET not in repr(secret) and SECRET not in str(secret)


def test_an_actor_that_starts_while_replay_is_silent_waits(tmp_path: Path):
    config = tiny_config(tmp_path, replay=ReplayConfig(patience_s=20.0))
    with replay_port() as port, StallingProxy(port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.05"
        with ExitStack() as stall:
            stall.enter_context(proxy.stalled())
            threading.Timer(0.2, stall.close).start()
            with open_patiently(config, "test", url) as replay:
                assert replay.size() == 0
        assert proxy.accepted > 1


def test_an_actor_that_replay_refuses_does_not_wait(tmp_path: Path):
    config = tiny_config(tmp_path, replay=ReplayConfig(patience_s=20.0))
    with replay_port() as port, redis.Redis(port=port) as admin:
        admin.config_set("requirepass", "another")
        with pytest.raises(UserError, match="refused the user or password"):
            open_patiently(config, "test", f"redis://:{SECRET}@127.0.0.1:{port}/0")


def test_an_actor_gives_up_on_replay_after_the_patience(tmp_path: Path):
    config = tiny_config(tmp_path, replay=ReplayConfig(patience_s=0.1))
    with replay_port() as port, StallingProxy(port) as proxy, proxy.stalled():
        url = f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.05"
        with pytest.raises(UserError, match="does not answer"):
            open_patiently(config, "test", url)


def test_one_actor_is_counted_in_the_singular() -> None:
    assert [_actors(n) for n in (1, 4)] == ["1 actor scored", "4 actors scored"]
