"""Each architecture from a folder: a whole training step, and one distribution for both passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GPTJConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedConfig,
)

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.attention.architecture import max_positions
from contraflow.models.causal_lm import CausalLM
from contraflow.policy import draw
from contraflow.policy.lora import LoraPolicy
from contraflow.run import build
from contraflow.run.session import open_run
from contraflow.seeding import torch_rng
from contraflow.settings import Config, JudgeConfig, LoraConfig, ModelConfig, TrainerConfig
from contraflow.training import job
from contraflow.types import Questions
from support.judges import save_judge
from support.models import ARCHITECTURES, save_tiny_model, tiny_model, word_tokenizer
from support.runs import tiny_config, write_tiny_facts

TINY = {"vocab_size": 24, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def config_of(folder: Path, architecture: str) -> Config:
    """Return the settings of two steps with sampler and judge from folders."""
    write_tiny_facts(folder / "facts.jsonl")
    sampler = save_tiny_model(architecture, folder / architecture)
    judge = save_judge("bert", folder / "judge", ("neutral", "contradiction", "entailment"))
    return tiny_config(
        folder,
        model=ModelConfig(name=str(sampler), device="cpu", lora=LoraConfig(r=4, alpha=8)),
        judge=JudgeConfig(name=str(judge)),
        trainer=TrainerConfig(
            n_steps=2, facts_per_step=2, threads=1, validate_every=2, probe_every=1
        ),
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_whole_steps_sample_answer_judge_and_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    """Only the report is replaced; the adapter ends with other and finite numbers."""
    monkeypatch.setattr(job, "write_report", lambda folder: folder / "report.html")
    monkeypatch.setattr(job, "print_summary", lambda *_: None)
    config = config_of(tmp_path, architecture)
    folder = job.train(config)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in history] == [0, 1]
    assert all(row["loss"] > 0 for row in history)
    run = open_run(folder)
    parameters = run.policy.lm.model.named_parameters()
    learned = [p for n, p in parameters if "lora_B" in n]  # zero before learning
    assert learned
    assert all(torch.isfinite(p).all() and p.abs().sum() > 0 for p in learned)
    fact = Fact(fact_id="x", subject="hamlet rome", edit_fact="hamlet is the rome")
    for record in run.generate([fact], 3):
        assert record.question.endswith("?")
        assert record.log_contradiction < 0
        assert record.log_p_answer < 0
        assert len(record.answer.split()) <= config.oracle.max_answer_tokens


class SampledLogProbs:
    """Sums per question the log-probabilities of the sampled actions, the stop included."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n_questions: int, stop_column: int) -> None:
        self.total = torch.zeros(n_questions)
        self._alive, self._stop = torch.arange(n_questions), stop_column
        self._draw = draw.categorical
        monkeypatch.setattr(draw, "categorical", self.draw)

    def draw(
        self, logits: torch.Tensor, row: torch.Tensor, u: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        column, log_p = self._draw(logits, row, u)
        self.total[self._alive] += logits.log_softmax(-1)[row, column]
        self._alive = self._alive[column != self._stop]
        return column, log_p


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_drawing_and_scoring_are_one_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_facts: list[Fact], architecture: str
) -> None:
    """64 questions agree within 1e-4.

    The prompts differ in length, the header is shared, the KV cache grows and finished rows leave.
    """
    config = config_of(tmp_path, architecture)
    policy: LoraPolicy = build.load_policy(config, build.load_lm(config))
    with torch.no_grad():
        for name, parameter in policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(3))
    sampled = SampledLogProbs(monkeypatch, 64, len(policy.constraints.action_ids) - 1)
    questions: Questions = policy.sample(two_facts, 32, torch_rng("draws"))
    lengths = set(questions.lengths.tolist())
    assert lengths == {2, 3, 4}, "some stop at once, some where they must"
    paths = policy.evaluate(two_facts, torch.arange(2).repeat_interleave(32), questions)
    # Where only the stop is allowed, nothing is sampled: its log-probability is 0.
    torch.testing.assert_close(paths.log_p_question.detach(), sampled.total, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (BloomConfig(vocab_size=24, hidden_size=32, n_layer=2, n_head=4), "BloomForCausalLM"),
        (
            GPTJConfig(vocab_size=24, n_embd=32, n_layer=2, n_head=4, rotary_dim=4),
            "GPTJForCausalLM",
        ),
        (MambaConfig(vocab_size=24, hidden_size=32, num_hidden_layers=2), "MambaForCausalLM"),
    ],
)
def test_an_unsupported_architecture_is_refused_by_name(
    config: PreTrainedConfig, name: str
) -> None:
    with pytest.raises(UserError, match=f"^{name} cannot be the sampler here: .*Pythia work"):
        CausalLM(AutoModelForCausalLM.from_config(config), word_tokenizer(), "x")


def test_capped_scores_are_refused_when_first_read() -> None:
    config = Gemma2Config(
        **TINY, intermediate_size=48, num_key_value_heads=2, head_dim=8, pad_token_id=0
    )
    lm = CausalLM(AutoModelForCausalLM.from_config(config), word_tokenizer(), "x")
    with pytest.raises(UserError, match=r"^Gemma2Attention cannot be .* caps scores"):
        lm.prefix_cache("the capital of rome")


def test_a_sliding_window_is_the_longest_text() -> None:
    """Our masks have no window, so no sequence may be longer than it.

    Qwen2 has a window that is switched off.
    """
    assert max_positions(MistralConfig(sliding_window=40, max_position_embeddings=64)) == 40
    assert max_positions(MistralConfig(sliding_window=None, max_position_embeddings=64)) == 64
    assert max_positions(tiny_model("qwen2").config) == 64
