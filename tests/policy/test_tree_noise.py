"""Noise that belongs to a path: the published generator, its distribution, no two streams equal."""

from __future__ import annotations

import math

import pytest
import torch

from contraflow.policy.tree_noise import (
    _mix,
    child_keys,
    children_gumbel,
    root_gumbel,
    root_keys,
)
from contraflow.seeding import torch_rng

EULER = 0.5772156649015329
# The first outputs of SplitMix64 with seed 1234567 (Vigna's splitmix64.c).
PUBLISHED = (
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
)


def keys(n: int) -> torch.Tensor:
    return root_keys(n, torch_rng("noise"), torch.device("cpu"))


def test_the_generator_is_splitmix64() -> None:
    gamma = 0x9E3779B97F4A7C15 - 2**64
    state = 1234567 + torch.arange(1, 6) * gamma
    assert [x % 2**64 for x in _mix(state).tolist()] == list(PUBLISHED)


def test_noise_of_children_follows_the_gumbel_law() -> None:
    """The largest gap between 200,000 values and the law is below its 0.1 % quantile, 1.95/√n."""
    for noise in (children_gumbel(keys(40), 5000).flatten(), root_gumbel(keys(200_000))):
        values = noise.sort().values
        law = (-(-values).exp()).exp()
        n = len(values)
        found = torch.arange(1, n + 1, dtype=torch.float64) / n
        assert float((law - found).abs().max()) < 1.95 / math.sqrt(n)
        assert float(values.mean()) == pytest.approx(EULER, abs=4 * 1.2825 / math.sqrt(n))


def test_noise_is_finite_and_independent_of_the_batch() -> None:
    some = keys(7)
    noise = children_gumbel(some, 300)
    assert bool(noise.isfinite().all())
    assert torch.equal(children_gumbel(some[3:4], 300), noise[3:4])
    assert torch.equal(children_gumbel(some, 100), noise[:, :100])


def test_no_two_nodes_share_a_key() -> None:
    """Three generations of 50 children, beside their parents."""
    parents = keys(4)
    generation, found = parents, [parents]
    for _ in range(3):
        child = torch.arange(50).repeat(len(generation))
        generation = child_keys(generation.repeat_interleave(50), child, 50)[:400]
        found.append(generation)
    every = torch.cat(found)
    assert len(every.unique()) == len(every)


def test_noise_of_a_child_is_not_that_of_its_parent() -> None:
    """Correlation of 20,000 pairs, with a standard error of 0.007."""
    parents = keys(20_000)
    children = child_keys(parents, torch.zeros_like(parents), 3)
    pairs = torch.stack([children_gumbel(parents, 3)[:, 0], children_gumbel(children, 3)[:, 0]])
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 0.03
