"""Compiled layers of a pass over a tree: the same numbers, one compilation for all layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

from contraflow.facts import Fact
from contraflow.models.layers import tree_layers
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.settings.models import LoraConfig
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import small_policy

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROWS = [(3, 4), (3, 5, 3), (4,), (3, 4)]
OWNERS = [0, 0, 1, 1]


@dataclass
class Backend:
    """Compiles nothing and counts the graphs that it gets."""

    forward: int = 0
    backward: int = 0
    compile: Any = field(init=False)

    def __post_init__(self) -> None:
        self.compile = aot_autograd(fw_compiler=self._forward, bw_compiler=self._backward)

    def _forward(self, graph: Any, _inputs: Any) -> Any:
        self.forward += 1
        return graph

    def _backward(self, graph: Any, _inputs: Any) -> Any:
        self.backward += 1
        return graph


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    torch._dynamo.reset()
    counting = Backend()
    monkeypatch.setattr(tree_layers, "BACKEND", counting.compile)
    yield counting
    torch._dynamo.reset()


def policy_of(architecture: str, compiling: str) -> LoraPolicy:
    lm = fresh_lm(architecture)
    lm.compiling = compiling  # type: ignore[assignment]
    policy = small_policy(lm, lora=LoraConfig(r=4, alpha=8, target_modules=["all-linear"]))
    with torch.no_grad():
        for name, parameter in lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(3))
    return policy


def numbers(policy: LoraPolicy, facts: list[Fact], rows: list[tuple[int, ...]]) -> list[Tensor]:
    """Log-probabilities, those of the prior, and gradients."""
    questions = stack_questions(rows, "cpu")
    owners = OWNERS[: len(rows)]
    paths = policy.evaluate(facts, owners, questions)
    loss = paths.log_p_question.sum() + paths.log_flow.sum()
    trained = [p for p in policy.lm.model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, trained)
    prior = policy.prior(facts, owners, questions).log_p_question
    return [paths.log_p_question.detach(), prior, *gradients]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_compiled_layers_learn_the_same(architecture: str, backend: Backend) -> None:
    compiled = policy_of(architecture, "on")
    plain = policy_of(architecture, "off")
    for rows in (ROWS, ROWS[:3]):
        wanted = numbers(plain, FACTS, rows)
        for ours, theirs in zip(numbers(compiled, FACTS, rows), wanted, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert not compiled._tree_layers.compile_failed
    # With gradients, and the frozen model without: two layers and two sizes add nothing.
    assert (backend.forward, backend.backward) == (2, 1)


def test_a_compiler_that_fails_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch._dynamo.reset()

    def broken(_graph: Any, _inputs: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(tree_layers, "BACKEND", broken)
    compiled = policy_of("gpt2", "on")
    wanted = numbers(policy_of("gpt2", "off"), FACTS, ROWS)
    for ours, theirs in zip(numbers(compiled, FACTS, ROWS), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    said = capsys.readouterr().err
    assert said.count("without torch.compile") == 1 and "model.compile=off" in said


def test_a_compiler_whose_results_are_wrong_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its graphs add 10 % to what they return; the first layer shows it, and none is used."""
    torch._dynamo.reset()

    def wrong(graph: Any, _inputs: Any) -> Any:
        return lambda *inputs: [1.1 * x for x in graph(*inputs)]

    monkeypatch.setattr(tree_layers, "BACKEND", wrong)
    compiled = policy_of("gpt2", "on")
    wanted = numbers(policy_of("gpt2", "off"), FACTS, ROWS)
    for ours, theirs in zip(numbers(compiled, FACTS, ROWS), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    assert compiled._tree_layers.compile_failed
    assert capsys.readouterr().err.count("a compiled layer's results differ by 1e-01") == 1
    torch._dynamo.reset()


def test_layers_that_run_again_are_not_compiled(backend: Backend) -> None:
    from contraflow.models.layers.recompute import recompute_layers

    policy = policy_of("llama", "on")
    recompute_layers(policy.lm.model)
    numbers(policy, FACTS, ROWS)
    assert backend.forward == 0
