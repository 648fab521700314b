"""The fused attention as an operation of a graph that inductor compiles."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor.utils import run_and_get_code

from contraflow.models.attention.shared_prefix import layer_prefix, shared_prefix_attention
from contraflow.models.layers.step_layers import OneLayer, _buffers, _run_block, compiled_layer

ROWS, HEADS, LENGTH, DIM = 3, 2, 32, 16


class Attention(nn.Module):
    def forward(self, qkv: Tensor, mask: Tensor, cache: OneLayer) -> Tensor:
        query, key, value = qkv.split([HEADS] * 3, 1)
        key, value = cache.update(key, value)
        out, _ = shared_prefix_attention(self, query, key, value, mask)
        return out.cos()


def run(by: Any, states: Tensor, fused: bool) -> Tensor:
    """One layer whose keys and values are views of one storage, as those of a static step."""
    rng = torch.Generator().manual_seed(3)
    qkv = torch.randn(ROWS, 3 * HEADS, 1, DIM, generator=rng)
    layer = SimpleNamespace(keys=states[0], values=states[1], index=torch.tensor([5]))
    buffers = _buffers(layer)
    mask = torch.zeros(ROWS, 1, 1, LENGTH)
    mask[..., 6:] = torch.finfo(mask.dtype).min
    with layer_prefix(None, buffers if fused else None):
        out: Tensor = by(Attention(), (qkv, mask, OneLayer(buffers, writes=not fused)), {})
    return out


@pytest.mark.slow
@torch.inference_mode()
def test_inductor_writes_the_buffers_without_a_copy() -> None:
    torch._dynamo.reset()
    states = torch.randn(2, ROWS, HEADS, LENGTH, DIM)
    changed = states.clone()
    expected = run(_run_block, changed, fused=False)
    with torch._inductor.config.patch(force_disable_caches=True):
        found, codes = run_and_get_code(lambda: run(compiled_layer(), states, fused=True))
    torch.testing.assert_close(found, expected)
    assert torch.equal(states, changed)
    assert "contraflow.decode_attention" in codes[-1]
    assert "clone" not in codes[-1]
