"""The configuration of the prototype with tiny models of the same architectures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

from contraflow.cli import main
from contraflow.reward.schedule import RewardParts
from contraflow.run import build
from contraflow.run.session import open_run
from contraflow.settings.compose import compose_config
from contraflow.training import job
from support.judges import save_judge

NAMES = (
    "Mira Lund",
    "Odile Marchand",
    "Al Kent",
    "Ann Rowe",
    "Bo Falk",
    "Ida Holm",
    "Lev Orlov",
    "Eva Sand",
)
TOWNS = ("Oslo", "Rome", "Bern", "Riga", "Lima", "Cork")


def save_gpt2(folder: Path) -> Path:
    """Save a GPT-2 of two narrow layers with its byte-level tokenizer.

    Its tokens are bytes, so it has twice the 1024 positions.
    """
    characters = ["Ġ", "Ċ", *map(chr, range(33, 127)), "<|endoftext|>"]
    tokenizer = GPT2Tokenizer(vocab={c: i for i, c in enumerate(characters)}, merges=[])
    torch.manual_seed(5)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=2048)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Arguments of `contraflow train`, with folders of weights and converted facts."""
    rows = [
        {
            "subject": f"{name} {n}",
            "src": f"Where was {name} {n} born?",
            "answers": [TOWNS[n]],
            "alt": TOWNS[n - 1],
        }
        for name in NAMES
        for n in range(len(TOWNS))
    ]
    (tmp_path / "zsre_mend_eval.json").write_text(json.dumps(rows))
    facts = tmp_path / "zsre.jsonl"
    assert main(["data", "convert", f"in={tmp_path / 'zsre_mend_eval.json'}", f"out={facts}"]) == 0
    assert "wrote 48 facts" in capfd.readouterr().out
    judge = save_judge(
        "deberta_v2", tmp_path / "deberta", ("entailment", "neutral", "contradiction")
    )
    return [
        "experiment=gpt2_large_zsre",
        f"data.facts={facts}",
        f"model.name={save_gpt2(tmp_path / 'gpt2')}",
        f"judge.name={judge}",
        f"run_dir={tmp_path / 'run'}",
        "model.device=cpu",
        "logger=none",
        "evaluation=none",
    ]


def test_adapter_reward_and_judge_are_those_of_the_prototype(words: list[str]) -> None:
    config = compose_config(words)
    policy = build.load_policy(config, build.load_lm(config))
    adapted = {
        n.split(".lora_A")[0].split(".")[-1]
        for n, _ in policy.lm.adapter.named_parameters()
        if "lora_A" in n
    }
    assert adapted == {"c_attn"}
    settings = policy.lm.adapter.peft_config["default"]
    assert (settings.r, settings.lora_alpha) == (16, 32)
    assert build.load_oracle(config, policy.lm).lm is policy.lm, (
        "the base model is not loaded a second time"
    )
    assert build.load_judge(config).identity.startswith("nli:")
    assert policy.prompt.header + policy.prompt.body_template == (
        "Generate a question about {subject}:\nQuestion:"
    )


def test_hybrid_reward_by_hand(words: list[str]) -> None:
    """Step 149 is the last of the penalized phase.

    log C is above and at the threshold of −6, log P_A fails once. A question that fails the text
    checks is not penalized: the prototype had no such checks.
    """
    reward = build.build_reward(compose_config(words))
    parts = RewardParts(
        log_contradiction=torch.tensor([-1.0, -6.0, -1.0]),
        log_p_question=torch.tensor([-9.0, -9.0, -9.0]),
        log_p_answer=torch.tensor([-2.0, -2.0, -21.0]),
        log_entailment=torch.zeros(3),
        question_ok=torch.tensor([True, True, False]),
    )
    assert reward(parts, 149).log_reward.tolist() == [-9.0, -59.0, -19.0]
    assert reward(parts, 150).log_reward.tolist() == [-10.0, -15.0, -20.0]


SMALL = [
    "trainer.n_steps=2",
    "trainer.facts_per_step=2",
    "exploration.n_samples=2",
    "trainer.validate_every=2",
    "data.max_validation_facts=1",
    "policy.max_question_len=6",
    "oracle.max_answer_tokens=3",
]


def test_it_has_four_ranks_and_rank_0_scores_for_all(words: list[str]) -> None:
    config = compose_config(words)
    assert (config.trainer.devices, config.exchange.kind) == (4, "scatter")


@pytest.mark.slow
def test_its_four_ranks_run_end_to_end(words: list[str], tmp_path: Path) -> None:
    assert main(["train", *words, *SMALL, "exchange.timeout_s=120"]) == 0
    roles = json.loads((tmp_path / "run" / "ranks.json").read_text())
    assert len(roles) == 4
    history = [
        json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in history] == [0, 1]


def test_it_runs_end_to_end_from_folders(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "write_report", lambda folder: folder / "report.html")
    monkeypatch.setattr(job, "print_summary", lambda *_: None)
    assert main(["train", *words, *SMALL, "trainer.devices=1"]) == 0
    history = [
        json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in history] == [0, 1]
    assert all(math.isfinite(row["loss"]) and row["loss"] > 0 for row in history)
    trained = [
        p
        for n, p in open_run(tmp_path / "run").policy.lm.adapter.named_parameters()
        if "lora_B" in n
    ]
    assert all(float(p.abs().sum()) > 0 for p in trained)
