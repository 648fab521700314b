"""A backbone in 8 or 4 bits: refused early if impossible, else one environment like any other."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from contraflow.cli import main
from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.weights import quantized
from contraflow.models.weights.identity import model_identity
from contraflow.policy.lora import LoraPolicy
from contraflow.run import build
from contraflow.run.session import open_run
from contraflow.seeding import torch_rng
from contraflow.settings import (
    Config,
    JudgeConfig,
    LoraConfig,
    ModelConfig,
    OracleConfig,
    TrainerConfig,
)
from contraflow.training import job
from contraflow.types import Questions
from support.judges import save_judge
from support.models import ARCHITECTURES, save_tiny_model
from support.runs import lines, tiny_config, write_tiny_facts

KINDS = ("8bit", "4bit")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None,
    reason="bitsandbytes (a wheel with 120 MB of GPU code) is not installed: pip install "
    "'contraflow[quantized]'",
)
pytestmark = pytest.mark.filterwarnings("ignore")


def config_of(folder: Path, architecture: str, kind: str | None, **model: object) -> Config:
    saved = folder / architecture
    if not saved.is_dir():
        write_tiny_facts(folder / "facts.jsonl")
        save_tiny_model(architecture, saved)
        save_judge("bert", folder / "judge", ("neutral", "contradiction", "entailment"))
    lora = LoraConfig(r=4, alpha=8)
    return tiny_config(
        folder,
        model=ModelConfig(str(saved), device="cpu", lora=lora, quantize=kind, **model),  # type: ignore[arg-type]
        judge=JudgeConfig(name=str(folder / "judge")),
        trainer=TrainerConfig(
            n_steps=2, facts_per_step=2, threads=1, validate_every=2, probe_every=1
        ),
    )


def trained_looking(policy: LoraPolicy) -> LoraPolicy:
    with torch.no_grad():
        for name, parameter in policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(3))
    return policy


@pytest.mark.parametrize("command", ["train", "generate", "evaluate"])
def test_a_missing_package_is_reported_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
):
    """It is refused before any model is looked for: no model has this name."""
    write_tiny_facts(tmp_path / "facts.jsonl")
    monkeypatch.setattr(quantized, "find_spec", lambda _: None)
    facts = f"{'data.' if command == 'train' else ''}facts={tmp_path / 'facts.jsonl'}"
    words = [facts, *(["run=untrained"] if command != "train" else [f"run_dir={tmp_path / 'run'}"])]
    assert (
        main([command, *words, "model=any", "model.name=/no/such/model", "model.quantize=4bit"])
        == 2
    )
    printed = capfd.readouterr().err.strip().splitlines()
    assert printed == [
        "contraflow: error: model.quantize=4bit needs bitsandbytes: pip install "
        "'contraflow[quantized]'"
    ]


def test_what_it_cannot_be_is_refused_by_its_key():
    with pytest.raises(UserError, match=r"^model\.quantize=2bit: must be one of 8bit, 4bit$"):
        ModelConfig(quantize="2bit")
    with pytest.raises(UserError, match=r"^model\.device=mps: must be auto, cpu, cuda"):
        ModelConfig(quantize="4bit", device="mps")


def test_another_quantization_has_another_replay_namespace(tmp_path: Path):
    save_tiny_model("llama", tmp_path)
    names = [model_identity(tmp_path, dtype="float32", quantize=kind) for kind in (None, *KINDS)]
    assert len(set(names)) == 3
    assert names[0] == names[1].removesuffix("-8bit") == names[2].removesuffix("-4bit")


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_layer_is_rounded_and_the_head_is_not(tmp_path: Path, architecture: str, kind: str):
    """The logits are near those of the float model.

    With a transposed weight (GPT-2 stores them so) they would be √2 away.
    """
    plain, lm = (build.load_lm(config_of(tmp_path, architecture, k)) for k in (None, kind))
    linear = [m for m in lm.model.modules() if isinstance(m, nn.Linear) and m is not lm.head]
    within = [
        m
        for m in linear
        if "project" not in str(type(m)) and m.weight.dtype in (torch.int8, torch.uint8)
    ]
    assert len(within) >= 2 * 4, "four or more in each of two layers"
    assert type(lm.head) is nn.Linear and lm.head.weight.dtype == torch.float32
    ids = torch.tensor([[3, 4, 5, 6, 9]])
    with torch.no_grad():
        expected, got = (m.model(ids).logits for m in (plain, lm))
    error = float((got - expected).norm() / expected.norm())
    assert 0 < error < (0.05 if kind == "8bit" else 0.7)
    rows = torch.tensor([5, 2, 9])
    hidden = torch.randn(3, lm.hidden_size)
    torch.testing.assert_close(lm.logits(hidden, rows), lm.logits(hidden)[:, rows])


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_quantized_sampling_and_scoring_are_one_distribution(
    tmp_path: Path, two_facts: list[Fact], architecture: str, kind: str
):
    """The log-probability of a question does not depend on its batch.

    A KV cache of prompts and a tree of whole questions give the same numbers.
    """
    config = config_of(tmp_path, architecture, kind)
    policy = trained_looking(build.load_policy(config, build.load_lm(config)))
    questions = policy.sample(two_facts, 8, torch_rng("draws"))
    index = torch.arange(2).repeat_interleave(8)
    together = policy.evaluate(two_facts, index, questions).log_p_question
    for row in (0, 5, 9, 15):
        one = type(questions)(questions.ids[row : row + 1], questions.lengths[row : row + 1])
        alone = policy.evaluate(two_facts, index[row : row + 1], one).log_p_question
        torch.testing.assert_close(alone[0], together[row], atol=3e-4, rtol=0)
    context = policy.lm.prefill(policy._prefix, policy.encode(two_facts))
    first = torch.tensor(policy.constraints.columns_of(questions.ids[:, 0].tolist()))
    of_cache = policy.constraints.mask_(
        policy.lm.logits(context.last_hidden, policy.constraints.action_ids), 0
    )
    sampled = of_cache.log_softmax(-1)[index, first]
    scored = policy.evaluate(two_facts, index, questions).log_pf[:, 0]
    torch.testing.assert_close(sampled, scored, atol=5e-3, rtol=0)


@needs_bitsandbytes
def test_a_text_is_quantized_apart_from_its_neighbors(tmp_path: Path):
    """Large norms make some columns outliers to bitsandbytes, depending on the rows of a batch."""
    lm = build.load_lm(config_of(tmp_path, "llama", "8bit"))
    ids = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 10], [11, 12, 13, 14]])
    with torch.no_grad():
        for name, parameter in lm.model.named_parameters():
            if "norm" in name:
                parameter.mul_(2.0)
        together = lm.model(ids).logits
        alone = torch.cat([lm.model(row[None]).logits for row in ids])
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)


def gradients(policy: LoraPolicy, facts: list[Fact], questions: Questions) -> torch.Tensor:
    paths = policy.evaluate(facts, torch.arange(2).repeat_interleave(8), questions)
    trained = [p for p in policy.lm.model.parameters() if p.requires_grad]
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(paths.log_p_question.sum(), trained)]
    )


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_equal_those_of_the_dequantized_weights(
    tmp_path: Path, two_facts: list[Fact], architecture: str, kind: str
):
    """The reference is the rounded model in float32.

    4-bit differs by float error only; 8-bit also rounds its input in the forward pass. On some CPUs
    the 4-bit layers of bitsandbytes let no gradient through after a pass without gradients.
    """
    config = config_of(tmp_path, architecture, kind)
    lm = build.load_lm(config)
    written_out = build.load_lm(config)
    written_out.model.dequantize()
    written_out.model.float().requires_grad_(False)
    ours, plain = (trained_looking(build.load_policy(config, x)) for x in (lm, written_out))
    questions = ours.sample(two_facts, 8, torch_rng("draws"))
    got, expected = gradients(ours, two_facts, questions), gradients(plain, two_facts, questions)
    error = float((got - expected).norm() / expected.norm())
    assert error < (0.1 if kind == "8bit" else 1e-4)


@needs_bitsandbytes
@pytest.mark.parametrize(("architecture", "kind"), [("llama", "4bit"), ("gpt2", "8bit")])
def test_a_run_on_quantized_weights_learns_and_opens_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, kind: str
):
    """Oracle and sampler share the backbone, layers are recomputed, the adapter is float32."""
    monkeypatch.setattr(job, "write_report", lambda folder: folder / "report.html")
    monkeypatch.setattr(job, "print_summary", lambda *_: None)
    config = config_of(tmp_path, architecture, kind, gradient_checkpointing=True)
    folder = job.train(config)
    assert all(row["loss"] > 0 for row in lines(folder))
    run = open_run(folder)
    assert run.oracle.lm is run.policy.lm  # type: ignore[attr-defined]
    learned = [p for n, p in run.policy.lm.model.named_parameters() if "lora_B" in n]
    assert learned and all(p.dtype == torch.float32 and p.abs().sum() > 0 for p in learned)
    frozen = [
        p for n, p in run.policy.lm.model.named_parameters() if p.dtype in (torch.int8, torch.uint8)
    ]
    assert frozen and not any(p.requires_grad for p in frozen)
    # a run with the same weights, not quantized, must not find these rewards
    plain = config_of(tmp_path, architecture, None)
    oracles = [build.load_oracle(c, build.load_lm(c)) for c in (config, plain)]
    assert oracles[0].identity != oracles[1].identity
    separate = replace(config, oracle=OracleConfig(name=str(tmp_path / "other")))
    save_tiny_model("llama", tmp_path / "other")
    assert build.load_oracle(separate, run.policy.lm).identity.split("|")[0].endswith(f"-{kind}")
