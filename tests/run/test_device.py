"""A GPU that this machine does not have is refused by its key before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from contraflow.errors import UserError
from contraflow.run.build import assemble
from contraflow.run.device import check_device
from contraflow.settings import Config, ModelConfig
from contraflow.training.joining import join_ranks


def config_on(device: str) -> Config:
    return Config(model=ModelConfig(name="no/such/model", device=device))


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_is_refused_where_there_is_none(device: str) -> None:
    with pytest.raises(UserError, match=rf"^model.device={device}: .*model.device=cpu") as caught:
        check_device(config_on(device))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_number_past_the_last_is_refused() -> None:
    check_device(config_on("cuda:1"))
    for number in (2, 9, 10**20):
        with pytest.raises(UserError, match=rf"^model.device=cuda:{number}: .*0 to 1"):
            check_device(config_on(f"cuda:{number}"))


@pytest.mark.usefixtures("no_gpu")
def test_cpu_and_auto_need_no_gpu() -> None:
    check_device(config_on("cpu"))
    check_device(config_on("auto"))


@pytest.mark.usefixtures("no_gpu")
def test_parts_ask_for_the_gpu_before_the_model(tmp_path: Path) -> None:
    config = config_on("cuda")
    config.model.name = str(tmp_path / "none")
    with pytest.raises(UserError, match=r"^model.device=cuda"):
        assemble(config, adapter=None)


@pytest.mark.usefixtures("no_gpu")
def test_a_training_asks_for_the_gpu_first() -> None:
    with pytest.raises(UserError, match=r"^model.device=cuda"):
        join_ranks(config_on("cuda"))
