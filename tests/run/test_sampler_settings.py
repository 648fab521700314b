"""Settings that a backbone cannot meet are refused before oracle and judge are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.run.build import assemble
from contraflow.settings import Config, JudgeConfig, LoraConfig, ModelConfig, PromptConfig
from support.models import save_tiny_model

PROMPTS = PromptConfig(task="fact : {edit_fact}\nask :", answer="ask : {question}\nfact :")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("llama", tmp_path_factory.mktemp("model"))


def config_of(model: Path, max_question_len: int = 4, **lora: Any) -> Config:
    """A run whose judge cannot be loaded, so that only an earlier refusal is seen."""
    config = Config(
        model=ModelConfig(name=str(model), device="cpu", lora=LoraConfig(**lora)),
        judge=JudgeConfig(name="no/such/judge"),
        prompt=PROMPTS,
    )
    config.policy.max_question_len = max_question_len
    return config


@pytest.mark.parametrize("adapter", [None, "fresh"])
def test_layers_are_looked_for_before_the_judge(model: Path, adapter: Any) -> None:
    with pytest.raises(UserError, match=r"^model.lora.target_modules=\[nope\]: .*q_proj"):
        assemble(config_of(model, target_modules=["nope"]), adapter=adapter)


def test_the_length_is_compared_before_the_judge(model: Path) -> None:
    with pytest.raises(UserError, match=r"^policy.max_question_len=100000: .* give at most "):
        assemble(config_of(model, max_question_len=100000), adapter=None)
