"""Tiny models with real architectures and real tokenizers, and a folder to train in."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from support.facts import FACTS
from support.models import fresh_lm

pytest_plugins = ["support.cli"]

# A shell starts its background jobs with Ctrl-C ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tiny models do not gain from a second thread, and waiting for it costs time.
torch.set_num_threads(1)

# In CI the examples are the same each time; elsewhere each run tries others.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(params=["gpt2", "llama"])
def tiny_lm(request: pytest.FixtureRequest) -> CausalLM:
    """A tiny random causal LM, once per family of attention."""
    return fresh_lm(request.param)


@pytest.fixture
def two_facts() -> list[Fact]:
    """Two facts whose prompts differ in length."""
    return list(FACTS)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with facts, in which `job.train(tiny_config(…))` takes a second."""
    from support.runs import prepare_folder

    prepare_folder(tmp_path, monkeypatch.setattr)
    return tmp_path
