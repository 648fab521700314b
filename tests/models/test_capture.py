"""CUDA graph capture as far as a CPU can show it.

A captured step must be the same operations on the same shapes at the same addresses for all texts,
and none may wait for a value. Where capture fails, nothing else may change.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from contraflow.facts import Fact
from contraflow.models.capture import (
    WARM_UPS,
    CaptureFailed,
    Recording,
)
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding import static_decoding, static_step, writing
from contraflow.models.decoding.static_decoding import StaticStep
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.run import build
from contraflow.seeding import torch_rng
from contraflow.settings import JudgeConfig, ModelConfig
from contraflow.text.prompts import answer_prompt
from support.decoding import both, policies
from support.facts import FACTS
from support.judges import save_judge
from support.models import ARCHITECTURES, fresh_lm, save_tiny_model
from support.runs import tiny_config, write_tiny_facts


@pytest.fixture(params=ARCHITECTURES)
def lm(request: pytest.FixtureRequest) -> CausalLM:
    return fresh_lm(request.param)


class Recorder(TorchDispatchMode):
    """Records every operation with the shapes and addresses of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        self.seen.append((str(func), *(tuple(x.shape) for x in tensors)))
        return func(*args, **(kwargs or {}))


# Kernels on the device, and views. `index_fill_` is allowed with a number only: the host would
# read a tensor.
CAPTURABLE = """
    _softmax.default _to_copy.default add.Tensor add_.Tensor addmm.default bmm.default
    cat.default clone.default copy_.default cos.default embedding.default gelu.default
    index_copy_.default index_fill_.int_Scalar mean.dim mm.default mul.Tensor
    native_layer_norm.default neg.default pow.Tensor_Scalar relu.default rsqrt.default
    silu.default sin.default sub.Tensor tanh.default
    _unsafe_view.default alias.default expand.default select.int slice.Tensor split.Tensor
    split_with_sizes.default t.default transpose.int unsqueeze.default view.default
"""


# What choosing a token and writing it down adds.
CHOOSING = """
    _log_softmax.default add_.Tensor argmax.default bitwise_not.default clamp.default clamp_.default
    constant_pad_nd.default cumsum.default div.Tensor eq.Scalar gather.default gt.Scalar
    index.Tensor index_select.default log.default logical_and_.default logical_not.default lt.Scalar
    masked_fill.Scalar masked_fill_.Scalar max.dim searchsorted.Tensor sum.dim_IntList
    where.self
"""


@torch.no_grad()
@pytest.mark.parametrize("adapted", [False, True])
def test_a_step_repeats_its_operations_and_waits_for_no_value(lm: CausalLM, adapted: bool) -> None:
    """The host reads no value and makes no constant; no tensor moves or grows."""
    if adapted:
        policies(lm)
    _, static, made = both(lm)
    static.advance(torch.arange(20) % 3, torch.arange(20) % 15 + 3)
    step: StaticStep = made._steps[next(iter(made._steps))]
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
        "may a CUDA graph hold these? none may be read by the host or be of a size that a value "
        "decides"
    )


@torch.no_grad()
@pytest.mark.parametrize("writer", ["sampler", "oracle"])
def test_choosing_is_part_of_a_step_and_waits_for_no_value(
    lm: CausalLM, two_facts: list[Fact], writer: str
) -> None:
    policy, switch = policies(lm)
    switch("static")
    if writer == "sampler":
        policy.sample(two_facts, 12, torch_rng("draws"))
        made = policy._static_steps
    else:
        oracle = FrozenLMOracle(lm, answer_prompt("ask : {question}\nfact :"))
        oracle.answer(["who is hamlet ?", "wrote ?"])
        made = oracle._static
    step = next(iter(made._steps.values()))
    runs, places = [], []
    for _ in range(3):
        step._index.zero_(), step._positions.zero_(), step.texts.step.zero_()
        with Recorder() as recorder, lm.frozen() if writer == "oracle" else nullcontext():
            step._step()
        runs.append(recorder.seen)
        texts = step.texts
        held = [step.ids, *texts.written.tensors, texts.going, texts.noise, texts.step]
        places.append([x.data_ptr() for x in held])
    assert runs[0] == runs[1] == runs[2]
    assert places[0] == places[1] == places[2]
    seen = {name.removeprefix("aten.") for name, *_ in runs[0]}
    assert not seen - set(CAPTURABLE.split()) - set(CHOOSING.split())


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (
            "captured",
            CaptureFailed("operation not permitted when stream is capturing"),
            "operation not permitted",
        ),
        (
            "CacheMemory",
            torch.OutOfMemoryError("CUDA out of memory"),
            "no memory for keys and values of 2048 positions",
        ),
        (
            "StaticStep",
            torch.OutOfMemoryError("CUDA out of memory"),
            "no memory for mask and logits of 64 texts of 32 positions",
        ),
    ],
)
def test_where_a_gpu_refuses_decoding_goes_on_eagerly(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    two_facts: list[Fact],
    what: str,
    error: Exception,
    message: str,
) -> None:
    policy, switch = policies(fresh_lm("gpt2"))
    expected = policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist()

    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(static_step if what == "captured" else static_decoding, what, refuse)
    switch("static")
    for _ in range(2):
        assert policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist() == expected
    printed = capsys.readouterr().err
    assert printed.count("decoding goes on without CUDA graphs") == 1 and message in printed
    steps = policy._static_steps
    assert not steps._steps and steps._memory is None, "what was allocated before is freed"


def test_a_fresh_policy_frees_the_graphs_of_the_untrained_one(tmp_path: Path) -> None:
    """They were kept through the whole training; sampling with it again records anew."""
    write_tiny_facts(tmp_path / "facts.jsonl")
    folder = save_tiny_model("llama", tmp_path / "model")
    judge = save_judge("bert", tmp_path / "judge", ("neutral", "contradiction", "entailment"))
    model = ModelConfig(name=str(folder), device="cpu", decoding="static")
    config = tiny_config(tmp_path, model=model, judge=JudgeConfig(name=str(judge)))
    parts = build.assemble(config, adapter=None)
    drawn = parts.policy.sample(FACTS, 4, torch_rng("draws")).ids.tolist()
    memory = weakref.ref(parts.policy._static_steps._memory)
    trainable = parts.with_fresh_adapter().policy
    gc.collect()
    assert memory() is None
    assert trainable.sample(FACTS, 4, torch_rng("draws")).ids.tolist() == drawn
    assert parts.policy.sample(FACTS, 4, torch_rng("draws")).ids.tolist() == drawn


def move_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let texts move to a smaller size as soon as half of them have ended."""
    monkeypatch.setattr(writing, "ASK_EVERY", 1)
    monkeypatch.setattr(static_step, "SHRINK", 2)


def test_what_recording_runs_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, two_facts: list[Fact]
) -> None:
    """A step runs three times on a GPU before its capture, also when half of a text is written."""
    policy, switch = policies(fresh_lm("llama"))
    expected = policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist()
    sizes = []

    def warm_up(step: Callable[[], None], _device: torch.device, _pool: object) -> Recording:
        for _ in range(WARM_UPS):
            step()
        sizes.append(step)
        return Recording(step)

    monkeypatch.setattr(static_step, "captured", warm_up)
    move_often(monkeypatch)
    switch("static")
    assert policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist() == expected
    assert len(sizes) > 1, "texts have moved to a smaller size, made in the middle of it"


def test_a_smaller_size_that_cannot_be_captured_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, two_facts: list[Fact]
) -> None:
    policy, switch = policies(fresh_lm("gpt2"))
    expected = policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist()
    switch("static")
    recorded, refused = [], []

    def only_once(step: Callable[[], None], _device: torch.device, _pool: object) -> Recording:
        if recorded:
            refused.append(step)
            raise CaptureFailed("out of memory")
        recorded.append(step)
        return Recording(step)

    monkeypatch.setattr(static_step, "captured", only_once)
    move_often(monkeypatch)
    assert policy.sample(two_facts, 17, torch_rng("draws")).ids.tolist() == expected
    assert refused
