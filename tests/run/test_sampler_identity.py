"""What the kept draws of an audit belong to: the sampler's weights among others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from contraflow.exactness.space import make_space
from contraflow.run.sampler_identity import sampler_identity
from contraflow.settings import Config


def test_an_identity_changes_with_the_adapter() -> None:
    """Two runs of one configuration differ in nothing else."""
    space = make_space(architecture="llama", n_tokens=2, max_len=2, reward="table", seed=0)
    run: Any = SimpleNamespace(policy=space.policy, config=Config())
    before = sampler_identity(run)
    assert sampler_identity(run) == before
    weight = next(p for p in space.policy.lm.model.parameters() if p.requires_grad)
    with torch.no_grad():
        weight[0, 0] += 1e-3
    assert sampler_identity(run) != before
