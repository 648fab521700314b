"""A version of the adapter that travels as bytes."""

from __future__ import annotations

import pytest
import torch

from contraflow.actors.weights import load_weights, weights_of
from contraflow.settings.models import LoraConfig
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import small_policy


def log_p(policy) -> torch.Tensor:
    questions = policy.sample(FACTS, 4, torch.Generator().manual_seed(0))
    owners = [i for i in range(len(FACTS)) for _ in range(4)]
    paths = policy.evaluate(FACTS, owners, questions)
    return torch.cat([paths.log_p_question, paths.log_flow.flatten()]).detach()


def test_a_version_makes_two_policies_equal():
    trained, other = small_policy(fresh_lm()), small_policy(fresh_lm())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in (*trained.lm.model.parameters(), *trained.flow.parameters()):
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    assert not torch.equal(log_p(trained), log_p(other))
    load_weights(other, weights_of(trained))
    assert torch.equal(log_p(trained), log_p(other))


def test_weights_of_another_shape_change_nothing():
    policy = small_policy(fresh_lm())
    before = weights_of(policy)
    other = small_policy(fresh_lm(), lora=LoraConfig(r=2, alpha=8))
    with pytest.raises(ValueError, match=r"adapter\..* is \(2, .*\) in the version and \(4, "):
        load_weights(policy, weights_of(other))
    assert weights_of(policy) == before


def test_weights_of_another_model_are_refused():
    with pytest.raises(ValueError, match="in the version and absent in the policy"):
        load_weights(small_policy(fresh_lm("gpt2")), weights_of(small_policy(fresh_lm())))
