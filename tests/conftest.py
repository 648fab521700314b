"""Tiny models with real architectures and real tokenizers, and a folder to train in."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Also for the processes that tests start: as many tests as cores run at a time, and threads that
# wait for one another without a core of their own make each step several times as long.
os.environ["OMP_NUM_THREADS"] = "1"

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from contraflow.facts import Fact
from support.facts import FACTS
from support.forked import SERVER, ForkServer, serving

# The process that hands tests to others need not import torch.
if TYPE_CHECKING:
    from contraflow.models.causal_lm import CausalLM

pytest_plugins = ["support.cli"]

# A shell starts its background jobs with Ctrl-C ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# In CI the examples are the same each time; elsewhere each run tries others.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(params=["gpt2", "llama"])
def tiny_lm(request: pytest.FixtureRequest) -> CausalLM:
    """A tiny random causal LM, once per family of attention."""
    from support.models import fresh_lm

    return fresh_lm(request.param)


@pytest.fixture
def two_facts() -> list[Fact]:
    """Two facts whose prompts differ in length."""
    return list(FACTS)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Forks processes that have imported torch, also for commands that are `support.forked`."""
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv(SERVER, server.address)
        yield server


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with facts, in which `job.train(tiny_config(…))` takes a second."""
    from support.runs import prepare_folder

    prepare_folder(tmp_path, monkeypatch.setattr)
    return tmp_path
