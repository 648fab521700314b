"""Answerers by name: folders, adapters, deltas; what they share, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from contraflow.errors import UserError
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.reward.oracle.local import LocalAnswerer
from contraflow.run import build
from contraflow.run.answerers import check_source, open_answerer, open_answerers
from contraflow.settings import Config
from contraflow.types import Answer, Answerer
from support.edits import (
    QUESTIONS,
    asking_config,
    save_delta,
    save_edited,
    save_tiny_adapter,
    tiny_adapter,
)
from support.families import tiny_model_of
from support.models import save_tiny_model, word_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")
PROMPTS, TARGETS = ["who wrote hamlet"], ["rome the"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    save_tiny_model("llama", tmp_path / "model")
    return tmp_path


@pytest.fixture
def config(here: Path) -> Config:
    return asking_config(name=str(here / "model"))


def opened(name: Path, config: Config, control: Answerer | None = None) -> LocalAnswerer:
    answerer = open_answerer(str(name), config=config, control=control)
    assert isinstance(answerer, LocalAnswerer)
    return answerer


def says(answerer: Answerer) -> list[Answer]:
    return answerer.oracle("few_shot").answer(QUESTIONS)


def assert_equal(ours: list[Answer], theirs: list[Answer]) -> None:
    assert [a.text for a in ours] == [a.text for a in theirs]
    assert [a.log_p for a in ours] == pytest.approx([a.log_p for a in theirs], abs=1e-4)


def merged(here: Path, seed: int = 0) -> Path:
    """The model of an adapter as a folder of its own."""
    folder = shutil.copytree(here / "model", here / f"merged-{seed}")
    tiny_adapter("llama", seed).merge_and_unload().save_pretrained(folder)
    return folder


def test_a_delta_answers_as_the_whole_edited_model(here: Path, config: Config):
    delta = save_delta("llama", here / "delta.safetensors")
    whole = opened(save_edited("llama", here / "edited"), config)
    control = opened(here / "model", config)
    edited = opened(delta, config, control)
    for _ in range(2):
        assert_equal(says(edited), says(whole))
        assert_equal(says(control), says(opened(here / "model", config)))
    assert edited.forced(PROMPTS, TARGETS) == whole.forced(PROMPTS, TARGETS)
    assert edited.base is control.base, "one set of weights"


def test_adapters_beside_each_other_share_the_controls_weights(here: Path, config: Config):
    base = str(here / "model")
    folders = [save_tiny_adapter("llama", here / f"a{i}", base, seed=i) for i in (0, 1)]
    models = open_answerers([str(f) for f in folders], base, config=config, names=["x", "y"])
    assert [edited.name for edited in models.edited] == ["x", "y"]
    expected = [says(opened(merged(here, seed), config)) for seed in (0, 1)]
    for _ in range(2):
        for edited, theirs in zip(models.edited, expected, strict=True):
            assert_equal(says(edited), theirs)
        assert_equal(says(models.control), says(opened(here / "model", config)))
    assert len({m.identity for m in (*models.edited, models.control)}) == 3
    assert len({id(m.base.module) for m in (*models.edited, models.control)}) == 1


def test_an_adapter_alone_is_compared_with_its_own_base(here: Path, config: Config):
    folder = save_tiny_adapter("llama", here / "adapter", str(here / "model"))
    models = open_answerers([str(folder)], config=config)
    assert_equal(says(models.control), says(opened(here / "model", config)))
    assert_equal(says(models.edited[0]), says(opened(merged(here), config)))
    with pytest.raises(UserError, match="name the model that it is an edit of, as control"):
        open_answerers([str(here / "model")], config=config)


def test_a_control_of_another_shape_is_not_the_base(here: Path, config: Config):
    """The adapter names its own base, which is there."""
    control = opened(save_tiny_model("gpt2", here / "gpt2"), config)
    folder = save_tiny_adapter("llama", here / "adapter", str(here / "model"))
    edited = opened(folder, config, control)
    assert edited.base is not control.base
    assert_equal(says(edited), says(opened(merged(here), config)))


def test_an_adapter_without_its_base_is_one_line(here: Path, config: Config):
    alone = save_tiny_adapter("llama", here / "alone")
    with pytest.raises(UserError, match="the adapter names no base"):
        opened(alone, config)
    control = opened(save_tiny_model("gpt2", here / "gpt2"), config)
    with pytest.raises(
        UserError, match=r"does not fit the control .*down_proj is not in the model"
    ):
        opened(alone, config, control)
    gone = save_tiny_adapter("llama", here / "gone", str(here / "nowhere"))
    with pytest.raises(UserError, match=r"an adapter answers on its base, which is not there") as e:
        opened(gone, config)
    assert len(str(e.value).splitlines()) == 1
    assert_equal(
        says(opened(gone, config, opened(here / "model", config))),
        says(opened(merged(here), config)),
    )


def test_a_delta_needs_weights_that_it_fits(here: Path, config: Config):
    delta = save_delta("llama", here / "delta.safetensors")
    with pytest.raises(UserError, match="a delta replaces tensors of a model; name that model"):
        opened(delta, config)
    control = opened(save_tiny_model("gpt2", here / "gpt2"), config)
    with pytest.raises(UserError, match=r"the model has no tensor .*down_proj|lm_head"):
        opened(delta, config, control)


def test_identity_is_content_of_base_and_edit(here: Path, config: Config):
    control = opened(here / "model", config)
    other = opened(save_edited("llama", here / "edited", seed=9), config)
    one, same, two = (
        save_delta("llama", here / f"{name}.safetensors", seed=seed)
        for name, seed in (("one", 1), ("same", 1), ("two", 2))
    )
    identity = {delta: opened(delta, config, control).identity for delta in (one, same, two)}
    assert identity[one] == identity[same] != identity[two]
    assert opened(one, config, other).identity != identity[one]
    assert identity[one].startswith(f"{control.identity}+")


@pytest.mark.parametrize("family", ["gptj", "bloom"])
def test_a_family_that_cannot_sample_answers(
    family: str, here: Path, config: Config, capsys: pytest.CaptureFixture[str]
):
    folder = here / family
    model = tiny_model_of(family)
    assert isinstance(model, PreTrainedModel)
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    answerer = opened(folder, config)
    said = capsys.readouterr()
    [line] = [line for line in (said.out + said.err).splitlines() if "generate()" in line]
    assert f"{folder}: {type(model).__name__} answers by its own generate()" in line
    assert len(says(answerer)) == len(QUESTIONS)
    score = answerer.forced(PROMPTS, TARGETS)[0]
    assert score.n_tokens == 2
    assert score.log_p < 0
    # An adapter on it shares its weights like any other.
    config.model.dtype = "float32"
    names = [name for name, _ in model.named_parameters()]
    data = dict(model.named_parameters())[names[0]].detach() * -1.0
    save_file({names[0]: data}, here / "delta.safetensors")
    edited = opened(here / "delta.safetensors", config, answerer)
    assert edited.forced(PROMPTS, TARGETS) != answerer.forced(PROMPTS, TARGETS)
    assert answerer.forced(PROMPTS, TARGETS) == [score]


def test_what_is_checked_before_a_model_loads(here: Path):
    check_source(str(here / "model"))
    with pytest.raises(UserError, match=r"the folder has no config\.json"):
        (here / "empty").mkdir()
        check_source(str(here / "empty"), "edited")
    with pytest.raises(UserError, match="address of a served model names no model"):
        check_source("openai:http://localhost:1/v1")


class TestOraclesOfTraining:
    """`oracle.name` takes the same forms."""

    def oracle_of(self, config: Config, name: Path | None) -> list[Answer]:
        config.oracle.name = None if name is None else str(name)
        lm = build.load_lm(config)
        oracle = build.load_oracle(config, lm)
        build.load_policy(config, lm)  # puts an adapter on the backbone
        with torch.no_grad():
            for parameter in lm.model.parameters():
                if parameter.requires_grad:
                    parameter.fill_(0.5)
        return oracle.answer(QUESTIONS)

    def test_a_delta_stands_on_the_samplers_backbone(self, here: Path, config: Config):
        delta = save_delta("llama", here / "delta.safetensors")
        edited = save_edited("llama", here / "edited")
        assert_equal(self.oracle_of(config, delta), self.oracle_of(config, edited))
        assert self.oracle_of(config, delta) != self.oracle_of(config, None)

    def test_an_adapter_stands_on_its_base(self, here: Path, config: Config):
        adapter = save_tiny_adapter("llama", here / "adapter", str(here / "model"))
        ours = self.oracle_of(config, adapter)
        assert_equal(ours, self.oracle_of(config, merged(here)))

    def test_a_folder_keeps_the_fast_oracle_and_its_identity(self, here: Path, config: Config):
        config.oracle.name = str(shutil.copytree(here / "model", here / "copy"))
        lm = build.load_lm(config)
        separate = build.load_oracle(config, lm)
        config.oracle.name = None
        shared = build.load_oracle(config, lm)
        assert isinstance(separate, FrozenLMOracle)
        assert separate.identity == shared.identity
