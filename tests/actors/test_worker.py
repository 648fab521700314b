"""The density that an actor sends is that of the version, temperature and mixture it drew with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from contraflow.actors.messages import Assignment, Collected
from contraflow.actors.weights import weights_of
from contraflow.actors.worker import Worker
from contraflow.distributed.messages import decode, encode
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.schedule import RewardSchedule
from contraflow.settings.learning import ExplorationConfig
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import small_experience, small_policy


def moved_policy(seed: int) -> LoraPolicy:
    """Return a policy whose adapter is far from zero."""
    policy = small_policy(fresh_lm())
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=rng)
    return policy


def worker_of(sends_density: bool = True, **settings: Any) -> Worker:
    experience = small_experience(small_policy(fresh_lm()))
    return Worker(
        experience.policy,
        experience.scorer,
        experience.replay,
        RewardSchedule(kind="static", question_failure_penalty=0.0),
        ExplorationConfig(**{"n_samples": 6, "pf_temp_prob": 0.0, **settings}),
        FACTS,
        facts_per_step=len(FACTS),
        seed=0,
        sends_density=sends_density,
    )


@pytest.mark.parametrize(
    ("settings", "prior_share"),
    [
        pytest.param({}, 0.0, id="plain"),
        pytest.param({"pf_temp_prob": 1.0, "pf_temp_low": 1.7, "pf_temp_high": 2.0}, 0.0, id="hot"),
        pytest.param({"distinct": True, "prior_share": 0.5}, 0.5, id="with the prior"),
    ],
)
def test_densities_are_those_of_the_version(settings: dict[str, Any], prior_share: float):
    version = moved_policy(seed=1)
    worker = worker_of(**settings)
    worker.load(5, weights_of(version))
    report = worker.collect(Assignment(3, 5, 50))
    batch = decode(encode(report), Collected).batch
    assert (batch.pf_temp == 1.0) == ("pf_temp_prob" not in settings)
    paths = version.evaluate(batch.facts, batch.owners, batch.questions, batch.pf_temp)
    density = paths.log_p_question.detach().exp()
    if prior_share:
        prior = torch.tensor([s.log_p_question for s in batch.scored]).exp()
        density = (1 - prior_share) * density + prior_share * prior
    torch.testing.assert_close(batch.log_density, density.log(), rtol=1e-4, atol=1e-4)
    assert not batch.is_stored.any()
    # The next version has other densities, so the check can tell them apart.
    later = moved_policy(seed=2).evaluate(batch.facts, batch.owners, batch.questions)
    assert (later.log_p_question.detach() - batch.log_density).abs().max() > 0.1


def test_no_density_is_computed_where_no_loss_asks():
    worker = worker_of(sends_density=False)
    worker.load(0, weights_of(moved_policy(seed=1)))
    assert worker.collect(Assignment(0, 0, 0)).batch.log_q == ()
