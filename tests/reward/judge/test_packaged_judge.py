"""The network of the packaged judge: saved and loaded without loss, strict about its files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from contraflow.errors import UserError
from contraflow.reward.judge import PackagedJudge, minilm
from contraflow.reward.judge.batching import encode_pairs
from contraflow.reward.judge.minilm import (
    JudgeSpec,
    PairHead,
    build_network,
    load_network,
    save_judge,
)
from contraflow.settings.models import JudgeConfig

SPEC = JudgeSpec(
    hidden_size=32, head_size=8, lora_rank=2, lora_alpha=4, max_length=48, temperature=2.0
)
PREMISES = ["the man is asleep .", "the capital of france is lyon ."]
HYPOTHESES = ["the man is awake and running .", ""]


@pytest.fixture
def judge_folder(tmp_path: Path, backbone_folder: Path) -> Path:
    torch.manual_seed(2)
    network = build_network(backbone_folder, SPEC)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:  # zero at the start: an adapter that did nothing would hide a lost one
            torch.nn.init.normal_(parameter, std=0.5)
    save_judge(network, SPEC, tmp_path / "judge")
    return tmp_path / "judge"


def test_the_head_pools_each_text_by_itself() -> None:
    """Premise states 1 and 3, hypothesis state 5, padding 100.

    The means are 2 and 5, the difference 3, the product 10.
    """
    head = PairHead(1, 3).eval()
    head.inner = torch.nn.Identity()
    head.outer = torch.nn.Identity()
    states = torch.tensor([[[1.0], [3.0], [5.0], [100.0]]])
    features = head(states, torch.tensor([[0, 0, 1, 0]]), torch.tensor([[1, 1, 1, 0]]))
    expected = torch.tensor([[1.0, 2.0, 5.0, 3.0, 10.0]])  # [CLS] first
    torch.testing.assert_close(features, torch.nn.functional.gelu(expected))


def test_scores_are_the_saved_networks(
    monkeypatch: pytest.MonkeyPatch, judge_folder: Path, backbone_folder: Path
) -> None:
    """Merged adapter, temperature 2: log-softmax of half the unmerged network's logits."""
    monkeypatch.setattr(minilm, "self_test", lambda *_: None)  # random weights know no language
    scores = PackagedJudge(backbone_folder, judge_folder, JudgeConfig(batch_size=1)).score(
        PREMISES, HYPOTHESES
    )
    network = load_network(backbone_folder, judge_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(backbone_folder)
    with torch.inference_mode():
        logits = network(dict(encode_pairs(tokenizer, PREMISES, HYPOTHESES, 48)))
    torch.testing.assert_close(scores.log_probs, (logits / 2).log_softmax(-1), atol=1e-5, rtol=1e-5)


def test_identity_follows_the_weights(
    monkeypatch: pytest.MonkeyPatch, judge_folder: Path, backbone_folder: Path
) -> None:
    monkeypatch.setattr(minilm, "self_test", lambda *_: None)
    before = PackagedJudge(backbone_folder, judge_folder).identity
    assert PackagedJudge(backbone_folder, judge_folder).identity == before
    head = load_file(judge_folder / minilm.HEAD_FILE)
    save_file({key: value + 1 for key, value in head.items()}, judge_folder / minilm.HEAD_FILE)
    assert PackagedJudge(backbone_folder, judge_folder).identity != before


def test_a_random_adapter_fails_the_self_test(judge_folder: Path, backbone_folder: Path) -> None:
    with pytest.raises(UserError, match="fails its self-test"):
        PackagedJudge(backbone_folder, judge_folder)


def test_a_missing_adapter_weight_is_an_error(judge_folder: Path, backbone_folder: Path) -> None:
    """PEFT alone would leave the missing layer untrained without a warning."""
    weights = load_file(judge_folder / minilm.ADAPTER_FILE)
    save_file(dict(list(weights.items())[1:]), judge_folder / minilm.ADAPTER_FILE)
    with pytest.raises(UserError, match="1 keys differ"):
        load_network(backbone_folder, judge_folder)


def test_another_format_is_refused(judge_folder: Path, backbone_folder: Path) -> None:
    file = judge_folder / minilm.META_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "format_version": 2}))
    with pytest.raises(UserError, match="this version reads format 1"):
        load_network(backbone_folder, judge_folder)


def test_missing_folders_are_named(
    tmp_path: Path, judge_folder: Path, backbone_folder: Path
) -> None:
    with pytest.raises(UserError, match="holds no judge"):
        PackagedJudge(backbone_folder, tmp_path)
    with pytest.raises(UserError, match="no MiniLM backbone"):
        PackagedJudge(tmp_path, judge_folder)


def test_an_adapter_on_other_weights_is_refused(judge_folder: Path, backbone_folder: Path) -> None:
    file = judge_folder / minilm.META_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "backbone_sha256": "0" * 64}))
    with pytest.raises(UserError, match="its weights differ"):
        PackagedJudge(backbone_folder, judge_folder)
