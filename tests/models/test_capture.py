"""What can be known of recording without a GPU: what a recording needs, and what happens where it is refused.

The same operations on the same shapes at the same addresses, whatever the texts are, and none that waits for a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from contraflow.facts import Fact
from contraflow.models import static_decoding
from contraflow.models.capture import WARM_UPS, CaptureFailed
from contraflow.models.causal_lm import CausalLM
from contraflow.models.static_decoding import (
    StaticStep,
)
from contraflow.seeding import torch_rng
from static_cases import both, policies
from tiny_models import ARCHITECTURES, fresh_lm


@pytest.fixture(params=ARCHITECTURES)
def lm(request: pytest.FixtureRequest) -> CausalLM:
    return fresh_lm(request.param)


class Recorder(TorchDispatchMode):
    """Every operation with the shapes and addresses of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        self.seen.append((str(func), *(tuple(x.shape) for x in tensors)))
        return func(*args, **(kwargs or {}))


# Kernels on the device, and views. `index_fill_` is here with a number only: given a tensor the host would read it.
CAPTURABLE = """
    _softmax.default _to_copy.default add.Tensor add_.Tensor addmm.default bmm.default cat.default clone.default
    copy_.default cos.default embedding.default gelu.default index_copy_.default index_fill_.int_Scalar mean.dim
    mm.default mul.Tensor native_layer_norm.default neg.default pow.Tensor_Scalar relu.default rsqrt.default
    silu.default sin.default tanh.default
    _unsafe_view.default alias.default expand.default select.int slice.Tensor split.Tensor split_with_sizes.default
    t.default transpose.int unsqueeze.default view.default
"""


@torch.no_grad()
@pytest.mark.parametrize("adapted", [False, True])
def test_a_step_is_the_same_operations_on_the_same_places_and_waits_for_no_value(
    lm: CausalLM, adapted: bool
) -> None:
    """What recording needs: no value is read by the host, no constant is made there, nothing moves or grows."""
    if adapted:
        policies(lm)
    _, static, made = both(lm)
    static.advance(torch.arange(20) % 3, torch.arange(20) % 15 + 3)
    step: StaticStep = made._made[next(iter(made._made))]
    runs, places = [], []
    for _ in range(3):
        with Recorder() as recorder:
            step._step()
        runs.append(recorder.seen)
        held = [step.ids, step.logits, step._mask, step._positions, step._index]
        held += [x for layer in step._cache.layers for x in (layer.keys, layer.values)]
        places.append([x.data_ptr() for x in held])
    assert runs[0] == runs[1] == runs[2]
    assert places[0] == places[1] == places[2]
    new = {name.removeprefix("aten.") for name, *_ in runs[0]} - set(CAPTURABLE.split())
    assert not new, (
        "may a CUDA graph hold these? none may be read by the host or be of a size that a value decides"
    )


def test_where_a_gpu_refuses_to_record_decoding_goes_on_eagerly(
    monkeypatch: pytest.MonkeyPatch, two_facts: list[Fact]
) -> None:
    policy, switch = policies(fresh_lm("gpt2"))
    expected = policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist()

    def refuse(*_: Any) -> None:
        raise CaptureFailed("operation not permitted when stream is capturing")

    monkeypatch.setattr(static_decoding, "captured", refuse)
    switch("static")
    with pytest.warns(UserWarning, match="without CUDA graphs: operation not permitted"):
        assert policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist() == expected
    assert policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist() == expected, "and is not tried again"


def test_what_recording_runs_leaves_no_trace(monkeypatch: pytest.MonkeyPatch, two_facts: list[Fact]) -> None:
    """On a GPU a step runs three times before it is recorded, also when half of the texts are written already."""
    policy, switch = policies(fresh_lm("llama"))
    expected = policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist()
    sizes = []

    def warm_up(step: Callable[[], None], _device: torch.device) -> Callable[[], None]:
        for _ in range(WARM_UPS):
            step()
        sizes.append(step)
        return step

    monkeypatch.setattr(static_decoding, "captured", warm_up)
    switch("static")
    assert policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist() == expected
    assert len(sizes) > 1, "texts have moved to a smaller size, made in the middle of it"


def test_a_smaller_size_that_cannot_be_recorded_leaves_texts_where_they_are(
    monkeypatch: pytest.MonkeyPatch, two_facts: list[Fact]
) -> None:
    policy, switch = policies(fresh_lm("gpt2"))
    expected = policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist()
    switch("static")
    original, recorded, refused = static_decoding.captured, [], []

    def only_once(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
        if recorded:
            refused.append(step)
            raise CaptureFailed("out of memory")
        recorded.append(step)
        return original(step, device)

    monkeypatch.setattr(static_decoding, "captured", only_once)
    assert policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist() == expected
    assert refused
