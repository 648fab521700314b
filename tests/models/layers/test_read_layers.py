"""Prompts that compiled layers read, against the usual pass."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters

from contraflow.models.layers import step_layers
from contraflow.models.layers.read_layers import ReadLayers
from support.models import ARCHITECTURES, fresh_lm

pytestmark = pytest.mark.slow

PROMPTS = [[3, 4, 5], [6, 7, 8, 9, 10, 11], [12], [3, 4, 9, 9], [5] * 9, [6, 7, 3]]


HEADER = "fact : the capital of rome"
# All architectures read the header by the same attention, so one of them shows what is without it.
CASES = [
    *((architecture, HEADER) for architecture in ARCHITECTURES),
    *(
        pytest.param(architecture, "", marks=[] if architecture == "llama" else pytest.mark.slow)
        for architecture in ARCHITECTURES
    ),
]


@torch.no_grad()
@pytest.mark.parametrize(("architecture", "header"), CASES)
def test_compiled_layers_read_what_the_usual_ones_read(
    monkeypatch: pytest.MonkeyPatch, architecture: str, header: str
) -> None:
    """Five batches, each of other numbers of prompts and tokens: one graph for all."""
    monkeypatch.setattr(step_layers, "BACKEND", "eager")
    torch._dynamo.reset()
    counters.clear()
    lm = fresh_lm(architecture)
    prefix = lm.prefix_cache(header)
    usual = [lm.prefill(prefix, PROMPTS[:n]) for n in (2, 3, 4, 5, 6)]
    lm.compiling = "on"
    layers = ReadLayers(lm)
    for n, expected in zip((2, 3, 4, 5, 6), usual, strict=True):
        with layers.active(prefix):
            found = lm.prefill(prefix, PROMPTS[:n])
        torch.testing.assert_close(found.last_hidden, expected.last_hidden, atol=1e-4, rtol=0)
        for mine, theirs in zip(found.cache.layers, expected.cache.layers, strict=True):
            torch.testing.assert_close(mine.keys, theirs.keys, atol=1e-4, rtol=0)
            torch.testing.assert_close(mine.values, theirs.values, atol=1e-4, rtol=0)
    assert not layers.compile_failed
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
