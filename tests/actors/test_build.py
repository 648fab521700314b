"""What an actor is built from, and what of it must not be seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contraflow.actors.build import ActorPlan, build_worker
from contraflow.errors import UserError
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.run.build import Parts, assemble
from contraflow.settings import ExchangeConfig, OracleConfig, ReplayConfig
from contraflow.settings.served import ServedConfig
from contraflow.system import progress
from support.facts import FACTS
from support.runs import tiny_config, use_tiny_parts

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
