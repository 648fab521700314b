"""`model.adapter`: a run that starts from the weights of another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import get_peft_model_state_dict

from contraflow.policy.adapter import save_adapter
from contraflow.policy.lora import LoraPolicy
from contraflow.run.build import assemble, load_lm, load_policy
from contraflow.run.fingerprint import sampler_fingerprint
from contraflow.settings import Config
from support.edits import asking_config
from support.models import save_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    return asking_config(name=str(save_tiny_model("llama", tmp_path / "model")))


def trained(config: Config, run: Path, value: float) -> Path:
    """A run whose adapter is a constant."""
    policy = load_policy(config, load_lm(config))
    with torch.no_grad():
        for parameter in policy.lm.model.parameters():
            if parameter.requires_grad:
                parameter.fill_(value)
    run.mkdir()
    save_adapter(policy, run / "adapter", config.model.name, "")
    return run


def values(policy: LoraPolicy) -> set[float]:
    tensors = get_peft_model_state_dict(policy.lm.adapter).values()
    return {float(number) for tensor in tensors for number in tensor.unique()}


def test_a_run_starts_from_the_adapter_it_names(config: Config, tmp_path: Path):
    """On the first rank, which adds the adapter after the baseline, and on the others."""
    config.model.adapter = str(trained(config, tmp_path / "run", 0.25))
    assert values(assemble(config, adapter="fresh", roles=()).policy) == {0.25}
    later = assemble(config, adapter=None, roles=())
    assert not later.policy.has_adapter
    assert values(later.with_fresh_adapter().policy) == {0.25}


def test_an_opened_run_needs_no_start(config: Config, tmp_path: Path):
    """What it was trained from may be gone."""
    run = trained(config, tmp_path / "run", 0.5)
    config.model.adapter = str(tmp_path / "gone")
    assert values(assemble(config, adapter=run / "adapter", roles=()).policy) == {0.5}


def test_the_start_counts_by_its_content(config: Config, tmp_path: Path):
    """A run from another start is another sampler; a moved one is the same."""
    cold = sampler_fingerprint(config)
    first = trained(config, tmp_path / "first", 0.25)
    moved = Path(shutil.copytree(first, tmp_path / "moved"))
    second = trained(config, tmp_path / "second", 0.5)
    found = []
    for start in (first, moved, second):
        config.model.adapter = str(start)
        found.append(sampler_fingerprint(config))
    assert found[0] == found[1] != found[2]
    assert cold not in found
