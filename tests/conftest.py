"""Tiny models made on the spot: real architectures, real tokenizer code, seconds of CPU."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import pytest
from hypothesis import settings

from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from support.tiny_models import fresh_lm

pytest_plugins = ["support.cli"]

settings.register_profile(
    "ci", derandomize=True
)  # what lands must not hang on a draw; a person's run explores
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(params=["gpt2", "llama"])
def tiny_lm(request: pytest.FixtureRequest) -> CausalLM:
    """A tiny random causal LM of both attention families."""
    return fresh_lm(request.param)


@pytest.fixture
def two_facts() -> list[Fact]:
    """Prompts of different length, so that left padding matters."""
    return [
        Fact(
            fact_id="a",
            subject="hamlet",
            edit_fact="rome wrote hamlet",
            original_answer="who",
            edited_answer="rome",
        ),
        Fact(fact_id="b", subject="rome", edit_fact="the capital of the city is rome in hamlet"),
    ]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with facts, in which `job.train(tiny_config(…))` takes a second."""
    from contraflow.training import job  # slow to import, and few tests train
    from support.tiny_runs import use_tiny_parts, write_tiny_facts

    write_tiny_facts(tmp_path / "facts.jsonl")
    use_tiny_parts(monkeypatch.setattr)
    monkeypatch.setattr(job, "write_report", lambda folder: folder / "report.html")
    monkeypatch.setattr(job, "print_summary", lambda *_: None)
    return tmp_path
