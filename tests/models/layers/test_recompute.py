"""Gradient checkpointing keeps less memory, learns the same, and leaves other passes alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.attention.shared_prefix import PrefixCache, sharing_prefix
from contraflow.models.causal_lm import CausalLM
from contraflow.models.layers import recompute
from contraflow.models.layers.recompute import recompute_layers
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.run import build
from contraflow.seeding import torch_rng
from contraflow.settings import Config, LoraConfig, ModelConfig, PolicyConfig, PromptConfig
from contraflow.types import Questions
from support.models import ARCHITECTURES, save_tiny_model

QUESTIONS = [[3, 6], [3, 4, 7], [5, 6, 11, 12], [3, 6]]
ABOUT = torch.tensor([0, 0, 1, 1])
HEADER = "fact : the capital of rome\nask : who is rome\n"


def policy_of(
    folder: Path, architecture: str, *, recomputes: bool, dtype: str = "float32"
) -> LoraPolicy:
    """Load a policy from a folder with the settings of a user, and make its adapter non-zero."""
    saved = folder / architecture
    if not saved.is_dir():
        save_tiny_model(architecture, saved)
    lora = LoraConfig(r=4, alpha=8, target_modules=["all-linear"])
    config = Config(
        model=ModelConfig(str(saved), dtype, "cpu", gradient_checkpointing=recomputes, lora=lora),
        prompt=PromptConfig(task=HEADER + "fact : {edit_fact}\nask :"),
        policy=PolicyConfig(min_question_len=2, max_question_len=4),
    )
    policy = build.load_policy(config, build.load_lm(config))
    with torch.no_grad():
        for name, parameter in policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(3))
    return policy


def gradients(policy: LoraPolicy, facts: list[Fact]) -> list[Tensor]:
    """Return all gradients of a loss that weighs tokens, stops and flows unequally."""
    paths = policy.evaluate(facts, ABOUT, stack_questions(QUESTIONS, torch.device("cpu")))
    weights = torch.linspace(0.5, 2.0, paths.log_pterm.numel()).view_as(paths.log_pterm)
    loss = (paths.log_pf * weights[:, 1:]).sum() + (paths.log_pterm * weights).sum()
    loss = loss + (paths.log_flow * weights).sum()
    trained = [p for p in policy.lm.model.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, [*trained, *policy.flow.parameters()], allow_unused=True))


def kept_by_a_pass(policy: LoraPolicy, facts: list[Fact]) -> int:
    """Count the numbers that autograd keeps from the forward pass for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        paths = policy.evaluate(facts, ABOUT, stack_questions(QUESTIONS, torch.device("cpu")))
    del paths
    return sum(kept.values())


def assert_same(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-5) -> None:
    assert sum(float(g.abs().sum()) for g in theirs if g is not None) > 1.0
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_recomputed_gradients_equal_those_of_a_plain_pass(
    tmp_path: Path, two_facts: list[Fact], architecture: str
):
    plain = policy_of(tmp_path, architecture, recomputes=False)
    saving = policy_of(tmp_path, architecture, recomputes=True)
    assert_same(gradients(saving, two_facts), gradients(plain, two_facts))
    assert kept_by_a_pass(saving, two_facts) < 0.5 * kept_by_a_pass(plain, two_facts)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_header_in_the_second_run_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_facts: list[Fact], architecture: str
):
    """The comparison above is sensitive to the header of the second run.

    Without a header the shapes differ and torch raises; with other keys of the same length the
    gradients clearly differ.
    """
    plain = policy_of(tmp_path, architecture, recomputes=False)
    saving = policy_of(tmp_path, architecture, recomputes=True)
    expected = gradients(plain, two_facts)

    @contextmanager
    def attending_elsewhere(prefix: PrefixCache | None) -> Iterator[None]:
        assert prefix is not None
        layers = tuple((keys.flip(2), values.flip(2) * 2) for keys, values in prefix.layers)
        with sharing_prefix(PrefixCache(layers, prefix.length)):
            yield

    with monkeypatch.context() as patch:
        patch.setattr(recompute, "sharing_prefix", attending_elsewhere)
        # the forward pass uses the same wrapper; only the second run must be wrong
        patch.setattr(recompute, "checkpoint", first_run_as_it_was(recompute.checkpoint))
        with pytest.raises(AssertionError, match="not close"):
            assert_same(gradients(saving, two_facts), expected, 1e-2)
    with monkeypatch.context() as patch:
        patch.setattr(recompute, "sharing_prefix", forgetting)
        patch.setattr(recompute, "checkpoint", first_run_as_it_was(recompute.checkpoint))
        with pytest.raises(CheckpointError):
            gradients(saving, two_facts)
    assert_same(gradients(saving, two_facts), expected)


@contextmanager
def forgetting(_prefix: PrefixCache | None) -> Iterator[None]:
    with sharing_prefix(None):
        yield


def first_run_as_it_was(checkpoint):
    """Return torch's checkpoint, with the right header in its first run whatever is patched."""

    def patched(again, *args, **options):
        prefix, runs = recompute.active_prefix(), []

        def run(*inputs):
            runs.append(1)
            if len(runs) > 1:
                return again(*inputs)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(recompute, "sharing_prefix", lambda _: sharing_prefix(prefix))
                return again(*inputs)

        return checkpoint(run, *args, **options)

    return patched


def test_the_second_run_sees_the_header_in_whatever_thread_it_is(
    tmp_path: Path, two_facts: list[Fact]
):
    """On a GPU the backward pass has its own threads, in which no context variable is set."""
    expected = gradients(policy_of(tmp_path, "llama", recomputes=False), two_facts)
    policy = policy_of(tmp_path, "llama", recomputes=True)
    questions = stack_questions(QUESTIONS, torch.device("cpu"))
    paths = policy.evaluate(two_facts, ABOUT, questions)
    weights = torch.linspace(0.5, 2.0, paths.log_pterm.numel()).view_as(paths.log_pterm)
    loss = (paths.log_pf * weights[:, 1:]).sum() + (paths.log_pterm * weights).sum()
    loss = loss + (paths.log_flow * weights).sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    trained = [
        *(p for p in policy.lm.model.parameters() if p.requires_grad),
        *policy.flow.parameters(),
    ]
    assert_same([p.grad for p in trained], expected)  # type: ignore[misc]


def test_half_precision_learns_the_same_too(tmp_path: Path, two_facts: list[Fact]):
    """The second run repeats the same operations, so even rounded gradients are equal."""
    plain = policy_of(tmp_path, "llama", recomputes=False, dtype="bfloat16")
    saving = policy_of(tmp_path, "llama", recomputes=True, dtype="bfloat16")
    assert_same(gradients(saving, two_facts), gradients(plain, two_facts), 0.0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_needs_no_gradient_is_bit_equal_and_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_facts: list[Fact], architecture: str
):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a pass without gradients was checkpointed")

    plain = policy_of(tmp_path, architecture, recomputes=False)
    saving = policy_of(tmp_path, architecture, recomputes=True)
    monkeypatch.setattr(recompute, "checkpoint", never)
    draws = [p.sample(two_facts, 16, torch_rng("draws")) for p in (plain, saving)]
    assert torch.equal(draws[0].ids, draws[1].ids)
    index = torch.arange(2).repeat_interleave(16)
    of = [p.prior(two_facts, index, draws[0]).log_p_question for p in (plain, saving)]
    assert torch.equal(of[0], of[1])
    # a KV cache is written once, also with gradients
    contexts = [p.lm.prefill(p.lm.prefix_cache(HEADER), [[3, 4], [5]]) for p in (plain, saving)]
    assert torch.equal(contexts[0].last_hidden, contexts[1].last_hidden)


@pytest.mark.parametrize("architecture", ["gpt2", "opt"])
def test_no_dropout_comes_with_it(tmp_path: Path, two_facts: list[Fact], architecture: str):
    """The switch of transformers needs training mode, hence dropout: another distribution."""
    policy = policy_of(tmp_path, architecture, recomputes=True)
    assert not any(m.training for m in policy.lm.model.modules())
    questions: Questions = stack_questions(QUESTIONS, torch.device("cpu"))
    once, again = (policy.evaluate(two_facts, ABOUT, questions).log_p_question for _ in range(2))
    assert torch.equal(once, again)
    assert not any(m.training for m in policy.lm.model.modules())


def test_the_switch_of_transformers_is_refused_here_as_well(tmp_path: Path, two_facts: list[Fact]):
    policy = policy_of(tmp_path, "llama", recomputes=True)
    policy.lm.model.gradient_checkpointing_enable()
    policy.lm.model.train()
    with pytest.raises(
        RuntimeError, match=r"use model\.gradient_checkpointing=true, which keeps the header"
    ):
        policy.evaluate(two_facts, ABOUT, stack_questions(QUESTIONS, torch.device("cpu")))


def test_a_model_without_layers_to_recompute_is_refused():
    with pytest.raises(
        UserError, match=r"^Linear cannot be .*model\.gradient_checkpointing=true finds no"
    ):
        recompute_layers(nn.Linear(2, 2))


def test_a_model_keeps_its_answers(tmp_path: Path):
    lms: list[CausalLM] = [policy_of(tmp_path, "llama", recomputes=r).lm for r in (False, True)]
    with torch.no_grad():
        one, two = (lm.model(torch.tensor([[3, 4, 5]])).logits for lm in lms)
    assert torch.equal(one, two)
