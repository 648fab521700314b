"""What is refused before Ray starts and before any model loads."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from contraflow.actors import checks
from contraflow.actors.checks import check_actors
from contraflow.actors.cluster import check_room, room_on
from contraflow.cli.entry import main
from contraflow.distributed.ranks import Ranks
from contraflow.errors import UserError
from contraflow.facts import read_facts, split_facts
from contraflow.settings import (
    DataConfig,
    ExchangeConfig,
    ExplorationConfig,
    ModelConfig,
    ObjectiveConfig,
    ReplayConfig,
)
from contraflow.training.joining import check_facts_go_round, on_own_gpu
from support.actors import replay_port
from support.ports import free_port
from support.runs import tiny_config, write_tiny_facts

ACTORS = ExchangeConfig(kind="actors")
EMBEDDED = ReplayConfig(store="embedded")


@pytest.fixture(autouse=True)
def ray_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these checks uses Ray, so they run without it too."""
    monkeypatch.setattr(checks, "find_spec", lambda _: object())


def test_other_exchanges_need_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "find_spec", lambda _: None)
    check_actors(tiny_config(tmp_path))


def test_a_missing_ray_names_the_package_to_install(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(checks, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'contraflow\[actors\]'"):
        check_actors(tiny_config(tmp_path, exchange=ACTORS, replay=EMBEDDED))


def test_a_replay_that_actors_cannot_reach_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"replay.store=memory: .* add replay=embedded"):
        check_actors(tiny_config(tmp_path, exchange=ACTORS))


@pytest.mark.parametrize(
    "objective",
    [ObjectiveConfig(name="rloo"), ObjectiveConfig(name="grpo"), ObjectiveConfig(forward_kl=0.5)],
)
def test_losses_that_ask_for_densities_are_accepted(tmp_path: Path, objective: ObjectiveConfig):
    check_actors(tiny_config(tmp_path, exchange=ACTORS, replay=EMBEDDED, objective=objective))


def test_weighted_replay_is_refused_before_any_model_loads(tmp_path: Path):
    exploration = ExplorationConfig(correct_replay=True)
    config = tiny_config(tmp_path, exchange=ACTORS, replay=EMBEDDED, exploration=exploration)
    with pytest.raises(UserError, match=r"^exploration.correct_replay: .* or use exchange=scatter"):
        check_actors(config)


def test_several_learners_need_a_replay_that_actors_reach(tmp_path: Path, capsys):
    """Refused by the command, before it starts a rank."""
    words = ["exchange=actors", "trainer.devices=2", f"run_dir={tmp_path / 'run'}"]
    assert main(["train", *words, "replay=memory"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "replay.store=memory" in line and "replay=embedded" in line
    assert not (tmp_path / "run").exists()


class ManyRanks(Ranks):
    """The first of more ranks than a run has training facts."""

    size = 1000


@pytest.mark.parametrize("cap", [None, 3])
def test_more_learners_than_facts_are_refused_early(tmp_path: Path, cap: int | None):
    write_tiny_facts(tmp_path / "facts.jsonl")
    facts = read_facts(tmp_path / "facts.jsonl")
    config = tiny_config(
        tmp_path, exchange=ACTORS, replay=EMBEDDED, data=DataConfig(max_train_facts=cap)
    )
    check_facts_go_round(config, facts, Ranks())
    n = len(split_facts(facts).train) if cap is None else cap
    with pytest.raises(UserError, match=f"^{n} training facts do not go round 1000 ranks; give"):
        check_facts_go_round(config, facts, ManyRanks())


@pytest.mark.parametrize(("device", "rank", "gpu"), [("cuda", 1, 1), ("cuda:6", 1, 7)])
def test_learners_have_the_gpus_from_the_given_one_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, rank: int, gpu: int
):
    """Ray gives its actors the first ones."""
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    config = tiny_config(tmp_path, exchange=ACTORS, model=ModelConfig(device=device))
    assert on_own_gpu(config, ManyRanks()).model.device == f"cuda:{gpu}"
    scatter = replace(config, exchange=ExchangeConfig())
    assert on_own_gpu(scatter, ManyRanks()).model.device == f"cuda:{rank}"


def test_an_address_that_nobody_answers_ends_the_command(tmp_path: Path, capsys):
    address = f"127.0.0.1:{free_port()}"
    words = ["exchange=actors", "replay=embedded", f"exchange.address='{address}'"]
    assert main(["train", f"run_dir={tmp_path / 'run'}", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert f"exchange.address={address}: nothing answers there (connection refused)" in error
    assert "`ray start --head`" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_server_of_another_kind_is_no_ray_head(tmp_path: Path):
    # Its usual port is that of a Ray head too.
    with replay_port() as port, pytest.raises(UserError) as refused:
        exchange = replace(ACTORS, address=f"127.0.0.1:{port}")
        check_actors(tiny_config(tmp_path, exchange=exchange, replay=EMBEDDED))
    assert f"127.0.0.1:{port}: that is no Ray head" in str(refused.value)


def test_a_silent_server_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "_CONNECT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        exchange = replace(ACTORS, address=f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UserError, match=r"nothing answers there \(timed out\)"):
            check_actors(tiny_config(tmp_path, exchange=exchange, replay=EMBEDDED))


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "room"),
    [
        ({"CPU": 8.0}, 1.0, 0.0, 8),
        ({"CPU": 8.0}, 3.0, 0.0, 2),
        ({"CPU": 1.0}, 0.1, 0.0, 10),
        ({"CPU": 8.0}, 1.0, 0.5, 0),
        ({"CPU": 8.0, "GPU": 2.0}, 1.0, 0.5, 4),
        ({"CPU": 8.0, "GPU": 2.0}, 1.0, 0.6, 2),  # a share is of one GPU
        ({"CPU": 3.0, "GPU": 2.0}, 1.0, 0.25, 3),
        ({"CPU": 8.0, "GPU": 5.0}, 1.0, 2.0, 2),
        ({}, 1.0, 0.0, 0),
    ],
)
def test_room_on_a_machine(resources: dict[str, float], cpus: float, gpus: float, room: int):
    assert room_on(resources, replace(ACTORS, actor_cpus=cpus, actor_gpus=gpus)) == room


def test_more_actors_than_a_cluster_has_room_for_are_refused():
    nodes = [{"CPU": 2.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 1.0}]
    exchange = replace(ACTORS, actors=5, actor_gpus=0.5)
    with pytest.raises(UserError) as refused:
        check_room(exchange, nodes)
    assert str(refused.value) == (
        "exchange.actors=5: the Ray cluster has room for 4 (6 CPUs and 2 GPUs on 2 machines, "
        "exchange.actor_cpus=1 and exchange.actor_gpus=0.5 for each); lower one of the three, or "
        "add machines"
    )
    check_room(replace(exchange, actors=4), nodes)
