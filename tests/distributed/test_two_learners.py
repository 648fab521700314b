"""Two learners that share the questions of actors, as two processes over gloo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from contraflow.distributed.launch import launch, log_of
from contraflow.distributed.ranks import Ranks
from support.forked import ForkServer
from support.processes import child_environment
from support.shared_step import CASES, Step, step_of
from support.two_learners import EXCHANGE

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def run_two(folder: Path, what: str, rank_server: ForkServer) -> None:
    """Run `support.two_learners` as rank 0 and as rank 1."""
    command = rank_server.command("support.two_learners:main", str(folder), what)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in child_environment().items():
            patch.setenv(name, value)
        code = launch(command, 2, folder)
    assert code == 0, log_of(folder, 1).read_text()


@pytest.fixture(scope="module")
def steps(
    tmp_path_factory: pytest.TempPathFactory, rank_server: ForkServer
) -> list[dict[str, dict[str, Any]]]:
    """What each of two learners did in a step of each case."""
    folder = tmp_path_factory.mktemp("two_learners")
    run_two(folder, "steps", rank_server)
    return [torch.load(folder / f"steps-{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Step]:
    """What one learner does in a step of each case."""
    folder = tmp_path_factory.mktemp("alone")
    return {name: step_of(name, Ranks(), folder) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_two_learners_step_like_one_on_all_facts(
    steps: list[dict[str, dict[str, Any]]], alone: dict[str, Step], name: str
):
    """Two facts with 8 questions on one learner and one with 6 on the other, or 5 and 5.

    So neither a plain mean over ranks nor, for a mean over facts, one by questions would do.
    """
    whole = alone[name].gradient
    norm = float(whole.norm())
    assert norm > 1e-2
    for rank in steps:
        torch.testing.assert_close(rank[name]["gradient"], whole, rtol=2e-4, atol=1e-6 * norm)
    assert torch.equal(steps[0][name]["gradient"], steps[1][name]["gradient"])


@pytest.mark.parametrize("name", CASES)
def test_two_learners_have_different_facts_and_the_same_metrics(
    steps: list[dict[str, dict[str, Any]]], alone: dict[str, Step], name: str
):
    shares = [set(rank[name]["facts"]) for rank in steps]
    assert sorted(map(len, shares)) == [1, 2] and not shares[0] & shares[1]
    first, second = (rank[name]["metrics"] for rank in steps)
    assert first.keys() == second.keys() >= alone[name].metrics.keys() >= {"ratio_ess", "ratio_cut"}
    assert first["log_contradiction"] == second["log_contradiction"]


def exact(folder: Path, name: str, rank_server: ForkServer) -> list[dict[str, Any]]:
    run_two(folder, name, rank_server)
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]


def assert_bounds(steps: list[dict[str, float]]) -> None:
    assert all(step["versions_behind"] <= EXCHANGE.max_staleness for step in steps)
    assert all(step["uses"] <= EXCHANGE.max_reuse for step in steps)


@pytest.mark.parametrize("name", ["vargrad", "subtb", "forward_kl"])
def test_four_actors_and_two_learners_reach_the_reward(
    tmp_path: Path, rank_server: ForkServer, name: str
):
    """One fact a learner and step: what is stored of both has often just been sampled again."""
    ranks = exact(tmp_path, name, rank_server)
    assert max(rank["total_variation"] for rank in ranks) <= 0.02
    assert ranks[0]["weights"] == ranks[1]["weights"]
    steps = ranks[0]["steps"]
    assert_bounds(steps)
    assert max(step["versions_behind"] for step in steps) > 0
    assert max(step["uses"] for step in steps) > 1
    assert any(0 < step["replay_share"] < 1 for step in steps)


def test_a_few_steps_of_two_learners_keep_their_bounds(tmp_path: Path, rank_server: ForkServer):
    """The numbers of a step are those of both learners, also on the one without an exchange."""
    ranks = exact(tmp_path, "few", rank_server)
    assert ranks[0]["weights"] == ranks[1]["weights"]
    for rank in ranks:
        assert_bounds(rank["steps"])
        assert [step["version"] for step in rank["steps"]] == list(range(6))
        assert {"ratio_ess", "learned_per_second", "restarts"} <= rank["steps"][-1].keys()
    same = ("loss", "ratio_ess", "uses", "replay_share")
    for one, two in zip(*(rank["steps"] for rank in ranks), strict=True):
        assert [one[name] for name in same] == [two[name] for name in same]
