"""Schedules by step, and random streams that depend on their names alone."""

from __future__ import annotations

import random
import subprocess

import pytest
import torch

from contraflow.reward.ramps import LinearSchedule
from contraflow.seeding import derived_seed, python_rng, torch_rng
from contraflow.training.learning_rate import WarmupCosine
from support.processes import program


def test_linear_schedule_by_hand():
    """2 → 10 over 4 steps: 2, 4, 6, 8, then 10."""
    schedule = LinearSchedule(2.0, 10.0, 4)
    assert [schedule(step) for step in range(6)] == [2.0, 4.0, 6.0, 8.0, 10.0, 10.0]


def test_a_horizon_of_zero_is_the_end_from_the_first_step():
    assert LinearSchedule(5.0, 1.0, 0)(0) == 1.0


def test_rate_warms_up_and_falls_along_a_cosine():
    """Five steps up: 1/5 … 5/5. Half way cos(π/2) = 0: 0.1 + 0.9 · 0.5 = 0.55. At the end 0.1."""
    share = WarmupCosine(5, 0.1, 1000)
    assert share(0) == pytest.approx(0.2)
    assert WarmupCosine(5, 0.1, 10**9)(4) == pytest.approx(1.0)
    assert share(500) == pytest.approx(0.55)
    assert share(1000) == share(5000) == pytest.approx(0.1)
    assert WarmupCosine(0, 0.1, 100)(0) == pytest.approx(1.0)


def test_derived_seed_is_pinned():
    """printf "0\\x1f1\\x1fsample" | sha256sum, the first 8 bytes, halved. A change would change
    every run.
    """
    assert derived_seed(0, 1, "sample") == 6694183350305908323


def test_parts_do_not_run_together():
    seeds = {
        derived_seed(*parts)
        for parts in ((1, 23), (12, 3), (123,), ("1", "2", "3"), (3, 12), (0, 123))
    }
    assert len(seeds) == 6


def test_seed_fits_every_generator():
    for step in range(200):
        seed = derived_seed(step)
        assert 0 <= seed < 2**63
        torch.Generator().manual_seed(seed)


@pytest.mark.defect(4)
def test_streams_do_not_depend_on_the_hash_salt(monkeypatch: pytest.MonkeyPatch):
    """Python salts `hash` in each process: keys made with it are not found again."""
    code = "from contraflow.seeding import derived_seed; print(derived_seed(3, 'replay', 'fact-ä'))"
    for salt in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", salt)
        ended = subprocess.run(**program(code), capture_output=True, text=True, check=True)
        assert ended.stdout.strip() == str(derived_seed(3, "replay", "fact-ä"))


def test_generators_repeat_and_leave_the_global_ones_alone():
    """In the old design sampling from replay reseeded the global generator."""
    before = random.getstate(), torch.random.get_rng_state()
    assert python_rng(1, "a").random() == python_rng(1, "a").random() != python_rng(1, "b").random()
    first, again, other = (torch.rand(3, generator=torch_rng(2, name)) for name in ("a", "a", "b"))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert random.getstate() == before[0] and torch.equal(torch.random.get_rng_state(), before[1])


@pytest.mark.parametrize("ranks", [(0, 1), (3, 7)])
def test_ranks_draw_apart(ranks: tuple[int, int]):
    a, b = (torch.rand(8, generator=torch_rng(0, 5, rank, "sample")) for rank in ranks)
    assert not torch.equal(a, b)
