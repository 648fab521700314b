"""What the host starts around the recorded step: counted at a tiny size, with bounds that hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.gpu.dispatches import (
    ADAPTER,
    LAYERS,
    LOADING,
    OUTSIDE,
    REST,
    STEP,
    Counted,
    Dispatches,
    dispatches_table,
)
from benchmarks.gpu.pipelines import TINY
from benchmarks.random_models import gpt2_config
from contraflow import default_facts

pytestmark = pytest.mark.filterwarnings("ignore")

DEPTHS = (2, 5)


@pytest.fixture(scope="module")
def counted() -> dict[int, dict[str, Dispatches]]:
    """By the number of layers."""
    found = {}
    with torch.random.fork_rng(devices=[]):
        for depth in DEPTHS:
            size = replace(TINY, sampler=gpt2_config(depth, 32, 4, 300))
            found[depth] = Counted(size, list(default_facts())[: size.facts]).count()
    return found


@pytest.mark.parametrize("phase", ["generate", "answer"])
def test_only_passes_grow_with_the_layers(
    counted: dict[int, dict[str, Dispatches]], phase: str
) -> None:
    """Loading keys and renewing an adapter take as many operations for 5 layers as for 2."""
    few, many = (counted[depth][phase] for depth in DEPTHS)
    for part in (ADAPTER, REST):
        assert few.operations[part] == many.operations[part]
    assert few.kernels[LOADING] == many.kernels[LOADING] <= 30
    assert few.operations[LOADING] == many.operations[LOADING] <= 50
    for part in (LAYERS, STEP):
        assert many.operations[part] / few.operations[part] == pytest.approx(5 / 2, rel=0.35)


def test_an_adapter_is_renewed_by_two_operations(
    counted: dict[int, dict[str, Dispatches]],
) -> None:
    for found in counted.values():
        assert found["generate"].operations[ADAPTER] == 2
        assert found["answer"].operations[ADAPTER] == 0  # it is off


def test_a_layer_that_reads_prompts_copies_no_keys(
    counted: dict[int, dict[str, Dispatches]],
) -> None:
    """Without a header nothing is concatenated; with one, keys and values are, once each."""
    for depth, found in counted.items():
        concatenated = {p: found[p].names[LAYERS]["aten.cat.default"] for p in found}
        assert concatenated == {"generate": 0, "answer": 2 * depth}
        assert found["answer"].names[LAYERS]["aten.lift_fresh.default"] == 0


def test_a_view_is_no_kernel(counted: dict[int, dict[str, Dispatches]]) -> None:
    for found in counted[2].values():
        for part in (*OUTSIDE, STEP):
            assert found.kernels[part] <= found.operations[part]
        names = found.names[LAYERS]
        views = sum(n for name, n in names.items() if name.split(".")[1] in VIEWS)
        assert found.operations[LAYERS] - found.kernels[LAYERS] == views


VIEWS = {"view", "transpose", "t", "split", "alias", "expand", "slice", "_unsafe_view"}


def test_the_table_sums_what_is_outside() -> None:
    """By hand: two parts of generate are outside, the step is not."""
    found = Dispatches()
    for part, n in ((LAYERS, 40), (REST, 2), (STEP, 500)):
        found.operations[part] = n
        found.kernels[part] = n // 2
        found.calls[part] = 3 * n
    table = dispatches_table({"generate": found})
    assert "| outside | 42 | 21 | 126 |" in table
    assert "| recorded step | 500 | 250 | 1,500 |" in table
