"""Four actors and one learner sample in proportion to the reward.

Actors are threads here, with models, replay clients and random streams of their own, around a real
Valkey server; `test_ray.py` does the same with Ray's processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from contraflow.actors.worker import Worker
from contraflow.exactness.check import EXPLORATION
from contraflow.gflownet.objectives import (
    ContrastiveTB,
    ModifiedSubTB,
    Objective,
    SubTB,
    TrajectoryBalance,
    VarGrad,
)
from contraflow.gflownet.policy_gradient import Rloo
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.reward.ramps import LinearSchedule
from contraflow.settings.running import ExchangeConfig
from contraflow.training.loss import StepLoss
from support.actors import KEEP_ALL, ThreadPool, space_learner, space_of, space_worker
from support.exact_actors import fit_space, total_variation

pytestmark = pytest.mark.filterwarnings("ignore")


def trained(
    folder: Path,
    objective: Objective | StepLoss,
    n_steps: int,
    delay: int = 0,
    lr: float = 6e-3,
    worker: Callable[..., Worker] = space_worker,
    **settings: Any,
) -> tuple[float, list[dict[str, float]]]:
    """Total variation to R / Z after some steps, and the metrics of each step."""
    exchange = ExchangeConfig(kind="actors", actors=4, timeout_s=60.0, **settings)
    with EmbeddedReplay("exact", KEEP_ALL, folder) as server:
        pool = ThreadPool(exchange.actors, partial(worker, server.url), delay)
        space = space_of()
        learner = space_learner(space, server.url, exchange, pool)
        steps = fit_space(space, learner, objective, n_steps, lr)
    return total_variation(space), steps


def assert_bounds(steps: list[dict[str, float]], settings: ExchangeConfig) -> None:
    assert all(step["versions_behind"] <= settings.max_staleness for step in steps)
    assert all(step["uses"] <= settings.max_reuse for step in steps)


SETTINGS = {"max_staleness": 4, "max_reuse": 4, "newest_share": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "n_steps", "lr"),
    [
        pytest.param(VarGrad(), 250, 6e-3, id="VarGrad"),
        pytest.param(SubTB(), 400, 6e-3, id="SubTB"),
        pytest.param(TrajectoryBalance(), 400, 3e-3, id="TB"),
        pytest.param(ContrastiveTB(), 300, 3e-3, id="CTB"),
        pytest.param(ModifiedSubTB(), 250, 6e-3, id="ModifiedSubTB"),
    ],
)
def test_four_actors_reach_the_reward_within_their_bounds(
    tmp_path: Path, objective: Objective, n_steps: int, lr: float
):
    distance, steps = trained(tmp_path, objective, n_steps, lr=lr, **SETTINGS)
    assert distance <= 0.02
    assert_bounds(steps, ExchangeConfig(**SETTINGS))
    assert max(step["versions_behind"] for step in steps) > 0
    assert max(step["uses"] for step in steps) > 1


@pytest.mark.slow
@pytest.mark.parametrize("objective", [VarGrad(), SubTB()], ids=["VarGrad", "SubTB"])
def test_samplers_of_fifty_versions_ago_still_reach_the_reward(
    tmp_path: Path, objective: Objective
):
    distance, _ = trained(tmp_path, objective, 400, delay=50, **SETTINGS)
    assert distance <= 0.02


FORWARD_KL = StepLoss(VarGrad(), LinearSchedule(1.0, 1.0, 1))
WITH_DENSITY = partial(space_worker, sends_density=True)
# As a run has it: a policy gradient takes no stored question, and draws at temperature 1.
POLICY_GRADIENT = partial(WITH_DENSITY, exploration=replace(EXPLORATION, pf_temp_prob=0.0))


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0, 50])
@pytest.mark.parametrize(
    ("loss", "worker", "newest_share"),
    [
        pytest.param(FORWARD_KL, WITH_DENSITY, 0.5, id="forward KL"),
        pytest.param(Rloo(), POLICY_GRADIENT, 1.0, id="RLOO"),
    ],
)
def test_losses_that_ask_for_densities_reach_the_reward_too(
    tmp_path: Path, loss: Objective | StepLoss, worker: Any, newest_share: float, delay: int
):
    settings = SETTINGS | {"newest_share": newest_share}
    distance, steps = trained(tmp_path, loss, 400, delay, worker=worker, **settings)
    assert distance <= 0.02
    assert all(0 < step["ratio_ess"] <= 1 + 1e-6 for step in steps)
    assert min(step["ratio_ess"] for step in steps) < 0.99  # the policy has moved since
    assert (max(step["replay_share"] for step in steps) > 0) == (newest_share < 1)


def test_a_few_steps_of_stale_draws_bring_their_densities(tmp_path: Path):
    """Before the first step the policy is that which drew: all ratios are 1."""
    settings = SETTINGS | {"max_staleness": 2}
    _, steps = trained(tmp_path, FORWARD_KL, 6, worker=POLICY_GRADIENT, **settings)
    assert steps[0]["ratio_ess"] == pytest.approx(1.0, abs=1e-4)
    assert min(step["ratio_ess"] for step in steps) < 0.999
    assert any(step["replay_share"] > 0 for step in steps)
    assert all({"ratio_ess", "ratio_cut"} <= step.keys() for step in steps)


def test_a_few_steps_of_four_actors_keep_their_bounds(tmp_path: Path):
    settings = {"max_staleness": 1, "max_reuse": 2, "newest_share": 0.5}
    _, steps = trained(tmp_path, VarGrad(), 6, **settings)
    assert_bounds(steps, ExchangeConfig(**settings))
    assert [step["version"] for step in steps] == list(range(6))
    assert steps[0]["replay_share"] == 0 and any(step["replay_share"] > 0 for step in steps)


def test_an_actor_that_ends_is_replaced_and_counted(tmp_path: Path):
    exchange = ExchangeConfig(kind="actors", actors=2, timeout_s=60.0)
    with EmbeddedReplay("exact", KEEP_ALL, tmp_path) as server:
        pool = ThreadPool(2, partial(space_worker, server.url))
        pool.fail_next = {0, 1}
        space = space_of()
        learner = space_learner(space, server.url, exchange, pool)
        steps = fit_space(space, learner, VarGrad(), 4)
    assert len(steps) == 4 and steps[-1]["restarts"] == 2 and pool.started == 2
