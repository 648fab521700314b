"""Compiled layers of a decoding step against the eager decoder.

Most tests let dynamo trace the layers and run the traced graph as it is: what can break is the
tracing. One slow test compiles with inductor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.attention import attention_check, fused_attention
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.static_step import StaticStep
from contraflow.models.layers import step_layers
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.seeding import torch_rng
from contraflow.settings.models import ModelConfig, OracleConfig
from contraflow.text.prompts import answer_prompt
from support.decoding import both, policies
from support.facts import FACTS
from support.models import ARCHITECTURES, fresh_lm

# Tracing takes seconds a case; what decoding must hold is also tested by `test_static_decoding.py`.
pytestmark = pytest.mark.slow

SIZES = (4, 12)  # questions of each of two facts: 8 and 32 rows


@pytest.fixture(params=ARCHITECTURES)
def lm(request: pytest.FixtureRequest) -> CausalLM:
    lm = fresh_lm(request.param)
    lm.compiling = "on"
    return lm


def trace(patch: pytest.MonkeyPatch) -> None:
    """Let dynamo trace the layers from here on, and count the graphs anew."""
    patch.setattr(step_layers, "BACKEND", "eager")
    torch._dynamo.reset()
    counters.clear()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    trace(monkeypatch)


def count_fused(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a CPU use the fused attention, down to heads of 8; return the rows of each call."""
    rows: list[int] = []
    usual = fused_attention.decode_attention

    def counted(query: torch.Tensor, *args: Any) -> torch.Tensor:
        rows.append(len(query))
        return usual(query, *args)

    monkeypatch.setattr(step_layers, "FUSED_ON", ("cpu",))
    monkeypatch.setattr(fused_attention, "SMALLEST_DIM", 8)
    monkeypatch.setattr(fused_attention, "decode_attention", counted)
    monkeypatch.setattr(attention_check, "_differences", {})  # as in a new process
    return rows


@torch.no_grad()
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("header", ["fact : the capital of rome", ""])
def test_compiled_layers_give_the_eager_logits(
    monkeypatch: pytest.MonkeyPatch, lm: CausalLM, header: str, fused: bool
) -> None:
    """Fused: the attention is one operation to the compiler, as on a GPU."""
    called = count_fused(monkeypatch) if fused else []
    eager, static, made = both(lm, header)
    rows = [torch.arange(20) % 3] * 2
    rng = torch.Generator().manual_seed(5)
    for _ in range(3):
        token = torch.randint(3, 18, (20,), generator=rng)
        rows = [
            d.advance(row, token)
            for d, row in zip((eager, static), rows, strict=True)  # type: ignore[arg-type]
        ]
        found = static.logits()[rows[1]]
        torch.testing.assert_close(found, eager.logits()[rows[0]], atol=1e-4, rtol=0)
    assert made.compile_seconds > 0 and not made.declined
    assert bool(called) is fused


@torch.no_grad()
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("wrong", ["the result", "no number", "keys", "nothing written"])
def test_a_wrong_fused_attention_is_declined_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    """It runs, but what it returns or writes is wrong; two sizes of the step are made."""
    lm = fresh_lm("llama")
    lm.compiling = "on"
    count_fused(monkeypatch)
    right = fused_attention.write_and_attend

    def spoiled(query: torch.Tensor, key: torch.Tensor, *args: Any) -> torch.Tensor:
        value, keys, values, *rest = args
        if wrong == "nothing written":
            keys, values = keys.clone(), values.clone()
        out = right(query, key, value, keys, values, *rest)
        if wrong == "keys":
            keys[0, 0] *= 1.01
        added = {"the result": 0.1, "no number": torch.nan}.get(wrong, 0.0)
        return out + added

    monkeypatch.setattr(fused_attention, "write_and_attend", spoiled)
    eager, static, made = both(lm)
    for n in (20, 3):
        row = torch.arange(n) % 3
        rows = [decoder.advance(row, row + 5) for decoder in (eager, static)]
        found = static.logits()[rows[1]]
        torch.testing.assert_close(found, eager.logits()[rows[0]], atol=1e-4, rtol=0)
    assert made.declined == {step_layers.FUSED}
    printed = capsys.readouterr().err
    assert printed.count("decoding goes on without the fused attention") == 1
    assert printed.count("the fused attention's results differ by") == 1


@torch.no_grad()
@pytest.mark.usefixtures("traced")
def test_the_fused_attention_is_checked_once_for_its_heads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By two decoders of each prompt, in two layers and two sizes: with a prefix, and without."""
    lm = fresh_lm("llama")
    lm.compiling = "on"
    count_fused(monkeypatch)
    checked: list[attention_check.Heads] = []
    usual = attention_check.attention_difference

    def counted(heads: attention_check.Heads, attend: Any) -> float:
        checked.append(heads)
        return usual(heads, attend)

    monkeypatch.setattr(attention_check, "attention_difference", counted)
    for header in ("fact : the capital of rome", "") * 2:
        _, static, made = both(lm, header)
        for n in (3, 20):
            static.advance(torch.arange(n) % 3, torch.arange(n) % 3 + 5)
        assert not made.declined
    heads = [attention_check.Heads(lm.device, torch.float32, 4, 2, 8, p) for p in (True, False)]
    assert checked == heads


@torch.no_grad()
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("room", [1 << 30, 1])
def test_joined_products_give_the_eager_logits(
    monkeypatch: pytest.MonkeyPatch, lm: CausalLM, room: int
) -> None:
    """Of today's weights, those of the layer too; with too little room nothing is copied."""
    monkeypatch.setattr(step_layers, "JOINED_ON", ("cpu",))
    monkeypatch.setattr(step_layers, "JOINED_BYTES", room)
    policy, switch = policies(lm)
    for _ in range(2):
        switch("eager")
        expected = policy.sample(FACTS, 4, torch_rng("draws"))
        switch("static")
        assert policy.sample(FACTS, 4, torch_rng("draws")).ids.tolist() == expected.ids.tolist()
        for name, parameter in lm.model.named_parameters():
            if "lora_B" in name or name.endswith("base_layer.weight"):
                parameter.mul_(-1.5)
    (layers,) = policy._static_steps._layers.values()
    assert layers._adapted
    assert all((layer.joined is not None) == (room > 1) for layer in layers._adapted)


@dataclass(frozen=True)
class Draws:
    """Questions drawn with one compiled policy, and what that left behind."""

    eager: dict[int, list[list[int]]]  # by the number of questions of a fact
    static: list[dict[int, list[list[int]]]]  # twice the same
    graphs: int  # traced for the draws above
    learned: list[list[list[int]]]  # of the largest size after a step: static, then eager
    graphs_after: int  # traced until the end
    breaks: dict[str, int]
    model: list[list[tuple[str, nn.Module, Any]]]  # before and after, see `state_of`


def state_of(lm: CausalLM) -> list[tuple[str, nn.Module, Any]]:
    """The modules, and how each one runs where it has a forward method of its own."""
    return [(n, m, m.__dict__.get("forward")) for n, m in lm.model.named_modules()]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def draws(request: pytest.FixtureRequest) -> Draws:
    """Draw by each decoder, take a step, and draw again. Tracing takes most of a test's time."""
    lm = fresh_lm(request.param)
    lm.compiling = "on"
    policy, switch = policies(lm)
    model = [state_of(lm)]

    def sample(n: int) -> list[list[int]]:
        return list(policy.sample(FACTS, n, torch_rng("draws", n)).ids.tolist())

    with pytest.MonkeyPatch.context() as patch:
        trace(patch)
        eager = {n: sample(n) for n in SIZES}
        switch("static")
        static = [{n: sample(n) for n in SIZES} for _ in range(2)]
        model.append(state_of(lm))
        graphs = counters["stats"]["unique_graphs"]
        for name, parameter in lm.model.named_parameters():
            if "lora_B" in name:  # as an optimizer does, and as loading a checkpoint may
                parameter.data = -parameter.data
        learned = [sample(SIZES[-1])]
        switch("eager")
        learned.append(sample(SIZES[-1]))
        graphs_after = counters["stats"]["unique_graphs"]
        breaks = dict(counters["graph_break"])
    return Draws(eager, static, graphs, learned, graphs_after, breaks, model)


def test_all_layers_share_one_graph_for_each_size(draws: Draws) -> None:
    """Sampling by an adapter whose layers are traced too: no breaks, and no graph is traced twice.

    The numbers of the layers, or a prefix of their own, would be a graph for each. One more graph
    reads the prompts.
    """
    assert draws.static == [draws.eager] * 2
    assert draws.graphs == len(SIZES) + 1
    assert not draws.breaks


def test_an_optimizer_step_shows_in_compiled_draws(draws: Draws) -> None:
    """The layers keep a copy of the adapter, which is renewed; nothing is traced again."""
    static, eager = draws.learned
    assert static == eager
    assert static != draws.eager[SIZES[-1]]
    assert draws.graphs_after == draws.graphs


def test_after_draws_the_model_is_as_before(draws: Draws) -> None:
    before, after = draws.model
    assert after == before


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_oracle_answers_the_same_by_compiled_layers(architecture: str) -> None:
    lm = fresh_lm(architecture)
    lm.compiling = "on"
    policies(lm)  # an adapter, which is off
    prompt = answer_prompt("ask : who is rome\nfact : the city\nask : {question}\nfact :")
    answers = []
    for decoding in ("eager", "static"):
        lm.decoding = decoding  # type: ignore[assignment]
        oracle = FrozenLMOracle(lm, prompt, OracleConfig(max_answer_tokens=6))
        answers.append(oracle.answer(["who is hamlet ?", "what is the capital ?", "wrote ?"]))
    assert [a.text for a in answers[0]] == [a.text for a in answers[1]]
    assert [a.log_p for a in answers[0]] == pytest.approx([a.log_p for a in answers[1]], abs=1e-4)
    assert counters["stats"]["unique_graphs"] == 2  # reads the questions, and decodes


def test_without_a_compiler_decoding_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], two_facts: list[Fact]
) -> None:
    lm = fresh_lm("gpt2")
    policy, switch = policies(lm)
    expected = [policy.sample(two_facts, n, torch_rng("draws")).ids.tolist() for n in SIZES]
    lm.compiling = "on"
    count_fused(monkeypatch)

    def broken(*_: Any) -> None:
        raise RuntimeError("no working C++ compiler\nand forty more lines")

    torch._dynamo.reset()
    monkeypatch.setattr(step_layers, "BACKEND", broken)
    switch("static")
    for n, ids in zip(SIZES, expected, strict=True):
        assert policy.sample(two_facts, n, torch_rng("draws")).ids.tolist() == ids
    printed = capsys.readouterr().err
    assert printed.count("decoding goes on without the fused attention") == 1
    assert printed.count("decoding goes on without torch.compile") == 1
    assert printed.count("reading prompts goes on without torch.compile") == 1
    assert "no working C++ compiler" in printed and "model.compile=off" in printed
    assert not policy._static_steps.capture_failed


def test_no_memory_while_compiling_is_not_a_broken_compiler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], two_facts: list[Fact]
) -> None:
    lm = fresh_lm("llama")
    policy, switch = policies(lm)
    expected = policy.sample(two_facts, 4, torch_rng("draws")).ids.tolist()
    lm.compiling = "on"
    monkeypatch.setattr(step_layers, "BACKEND", "eager")
    torch._dynamo.reset()

    def full(_: StaticStep) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(StaticStep, "_step", full)
    switch("static")
    assert policy.sample(two_facts, 4, torch_rng("draws")).ids.tolist() == expected
    assert "decoding goes on without CUDA graphs" in capsys.readouterr().err


def test_the_config_chooses_whether_to_compile() -> None:
    lm = fresh_lm("llama")
    assert not lm.compiles  # auto: on a GPU
    lm.compiling = "on"
    assert lm.compiles
    with pytest.raises(UserError, match=r"model.compile=yes: must be one of auto, on, off"):
        ModelConfig(compile="yes")


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_inductor_gives_the_eager_questions(architecture: str, two_facts: list[Fact]) -> None:
    """Compiled by inductor to C++; a GPU gets Triton kernels of the same graph."""
    torch._dynamo.reset()
    lm = fresh_lm(architecture)
    policy, switch = policies(lm)
    expected = policy.sample(two_facts, 4, torch_rng("draws")).ids.tolist()
    lm.compiling = "on"
    switch("static")
    assert policy.sample(two_facts, 4, torch_rng("draws")).ids.tolist() == expected
    assert not policy._static_steps.declined, "a C++ compiler is needed here"
    assert not policy._read_layers.compile_failed
