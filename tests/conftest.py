"""Tiny models made on the spot: real architectures, real tokenizer code, seconds of CPU."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from tiny_models import fresh_lm


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
