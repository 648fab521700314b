"""Recorded passes over token trees: the numbers of the pass itself, and no other's memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft.tuners.lora.layer import Linear as PeftLinear
from peft.tuners.lora.layer import LoraLayer
from torch import nn

from contraflow.models.capture import Recording
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.cache_memory import layer_states
from contraflow.models.layers.recompute import recompute_layers
from contraflow.models.prefilled import cache_of_one_pass
from contraflow.models.recorded import recorded_trees
from contraflow.models.recorded.recorded_gradient import RecordedGradient
from contraflow.models.recorded.recorded_trees import RecordedTrees
from contraflow.models.weights.weight_states import with_tensors
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.seeding import torch_rng
from contraflow.settings.models import LoraConfig
from support.facts import FACTS
from support.models import fresh_lm
from support.recorded import HEADER, adapted_policy, gradients, trees_of
from support.tables import small_policy


@pytest.fixture
def lm() -> CausalLM:
    return fresh_lm("gpt2")


@pytest.fixture
def policy() -> LoraPolicy:
    return adapted_policy()


@torch.no_grad()
def test_a_replay_gives_states_and_keys_of_the_pass(lm: CausalLM) -> None:
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    for n, tree in enumerate(trees_of(lm, trees)):
        found_keys, keys = cache_of_one_pass(), cache_of_one_pass()
        found = trees.hidden(prefix, tree, found_keys)
        torch.testing.assert_close(found, lm.tree_hidden(prefix, tree, keys))
        torch.testing.assert_close(layer_states(found_keys), layer_states(keys))
        assert trees.n_recordings == min(n, 1)  # all have the shape (1, 64)


@torch.no_grad()
def test_a_later_replay_leaves_earlier_results_alone(lm: CausalLM) -> None:
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    first, *others = trees_of(lm, trees)
    trees.hidden(prefix, first)
    found = trees.hidden(prefix, first)
    before = found.clone()
    for tree in others:
        trees.hidden(prefix, tree)
    assert torch.equal(found, before)


def test_a_replay_has_the_gradient_of_the_pass(policy: LoraPolicy) -> None:
    lm = policy.lm
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    for tree in trees_of(lm, trees):
        found = gradients(policy, trees.hidden(prefix, tree))
        torch.testing.assert_close(found, gradients(policy, lm.tree_hidden(prefix, tree)))
        assert any(grad.abs().max() > 0.01 for grad in found)
    assert trees.n_recordings == 1


def test_backward_passes_in_any_order_are_their_own(policy: LoraPolicy) -> None:
    lm = policy.lm
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    made = trees_of(lm, trees)
    trees.hidden(prefix, made[0])
    states = [trees.hidden(prefix, tree) for tree in made]
    assert trees.n_recordings == 1
    for tree, hidden in zip(made, states, strict=True):
        wanted = gradients(policy, lm.tree_hidden(prefix, tree))
        torch.testing.assert_close(gradients(policy, hidden), wanted)


def test_a_pass_between_forward_and_backward_may_read_only(policy: LoraPolicy) -> None:
    lm = policy.lm
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    tree, other, _ = trees_of(lm, trees)
    for _ in range(3):
        hidden = trees.hidden(prefix, tree)
        with torch.no_grad():
            trees.hidden(prefix, other)
        wanted = gradients(policy, lm.tree_hidden(prefix, tree))
        torch.testing.assert_close(gradients(policy, hidden), wanted)
    assert trees.n_recordings == 2


def test_weights_changed_before_the_backward_pass_are_refused(policy: LoraPolicy) -> None:
    trees = RecordedTrees(policy.lm, always=True)
    prefix = policy.lm.prefix_cache(HEADER)
    tree = trees_of(policy.lm, trees)[0]
    trees.hidden(prefix, tree)
    hidden = trees.hidden(prefix, tree)
    with torch.no_grad():
        next(p for p in policy.lm.model.parameters() if p.requires_grad).add_(1.0)
    with pytest.raises(RuntimeError, match="a weight was changed"):
        hidden.sum().backward()


@torch.no_grad()
def test_the_adapter_on_and_off_are_two_recordings(policy: LoraPolicy) -> None:
    lm = policy.lm
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    tree = trees_of(lm, trees)[0]
    for _ in range(3):
        on = trees.hidden(prefix, tree)
        with lm.frozen():
            off = trees.hidden(prefix, tree)
            torch.testing.assert_close(off, lm.tree_hidden(prefix, tree))
        torch.testing.assert_close(on, lm.tree_hidden(prefix, tree))
        assert float((on - off).abs().max()) > 0.01
    assert trees.n_recordings == 2


def test_a_step_of_the_optimizer_is_seen_by_replays(policy: LoraPolicy) -> None:
    lm = policy.lm
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    tree = trees_of(lm, trees)[0]
    weights = [p for p in lm.model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    for _ in range(3):
        hidden = trees.hidden(prefix, tree)
        torch.testing.assert_close(hidden, lm.tree_hidden(prefix, tree))
        optimizer.zero_grad()
        hidden.square().sum().backward()
        optimizer.step()
    assert trees.n_recordings == 1


def test_layers_that_run_again_are_not_recorded() -> None:
    lm = fresh_lm("gpt2")
    recompute_layers(lm.model)
    policy = small_policy(lm, lora=LoraConfig(r=4, alpha=8))
    trees = RecordedTrees(policy.lm, always=True)
    tree = trees_of(lm, trees)[0]
    for _ in range(3):
        trees.hidden(lm.prefix_cache(HEADER), tree)
    assert trees.n_recordings == 0


class QuantizedLinear(nn.Module, LoraLayer):  # type: ignore[misc]
    """Built as PEFT's layers around quantized ones are: it is no `peft…layer.Linear`."""

    forward = PeftLinear.forward


def quantized_like(policy: LoraPolicy) -> LoraPolicy:
    for layer in policy.lm.adapter.modules():
        if type(layer) is PeftLinear:
            layer.__dict__.pop("forward", None)
            layer.__class__ = QuantizedLinear
    return policy


def as_on_a_gpu(patch: pytest.MonkeyPatch, policy: LoraPolicy) -> None:
    """Recordings run with the adapter as it was when they were made."""
    layers = [m for m in policy.lm.adapter.modules() if isinstance(m, LoraLayer)]

    def captured(step: Callable[[], None], *_args: Any) -> Recording:
        then = [layer._disable_adapters for layer in layers]

        def run() -> None:
            now = [layer._disable_adapters for layer in layers]
            for layer, disabled in zip(layers, then, strict=True):
                layer._disable_adapters = disabled
            step()
            for layer, disabled in zip(layers, now, strict=True):
                layer._disable_adapters = disabled

        run()
        return Recording(run)

    patch.setattr(recorded_trees, "captured", captured)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["plain", "quantized", "embedding"])
def test_prior_and_sampler_in_turn_are_not_mixed_up(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The audit asks both for log P of the same questions, one after the other."""
    targets = ["wte"] if kind == "embedding" else None
    lora = LoraConfig(r=4, alpha=8, target_modules=targets)
    policy = small_policy(fresh_lm("gpt2"), lora=lora)
    for weight in policy.lm.model.parameters():
        if weight.requires_grad:
            weight.normal_(std=0.3, generator=torch_rng(0))
    if kind == "quantized":
        quantized_like(policy)
    as_on_a_gpu(monkeypatch, policy)
    questions = stack_questions([(3, 4), (3, 5, 3), (4,), (3, 4)], "cpu")
    about = (FACTS[:2], [0, 0, 1, 1], questions)
    prior, sampler = policy.prior(*about).log_pf, policy.evaluate(*about).log_pf
    assert float((prior - sampler).abs().max()) > 0.1
    policy._trees = RecordedTrees(policy.lm, always=True)
    for _ in range(3):
        torch.testing.assert_close(policy.prior(*about).log_pf, prior)
        torch.testing.assert_close(policy.evaluate(*about).log_pf, sampler)
    assert policy._trees.n_recordings == 2


def test_passes_in_inference_mode_are_not_recorded(lm: CausalLM) -> None:
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    tree = trees_of(lm, trees)[0]
    with torch.inference_mode():
        for _ in range(3):
            trees.hidden(prefix, tree)
    assert trees.n_recordings == 0


def test_an_adapter_without_trained_weights_is_not_recorded(policy: LoraPolicy) -> None:
    for weight in policy.lm.model.parameters():
        weight.requires_grad_(False)
    trees = RecordedTrees(policy.lm, always=True)
    tree = trees_of(policy.lm, trees)[0]
    for _ in range(3):
        trees.hidden(policy.lm.prefix_cache(HEADER), tree)
    assert trees.n_recordings == 0 and not trees._failed


@torch.no_grad()
def test_with_the_adapter_off_another_adapter_changes_nothing(lm: CausalLM) -> None:
    """The oracle's recordings outlive the adapter that measuring facts has used."""
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    tree = trees_of(lm, trees)[0]
    for _ in range(2):
        trees.hidden(prefix, tree)
    small_policy(lm, lora=LoraConfig(r=4, alpha=8))
    with lm.frozen():
        trees.hidden(prefix, tree)
    assert trees.n_recordings == 1


@torch.no_grad()
def test_weights_in_another_place_have_recordings_of_their_own(lm: CausalLM) -> None:
    """A recording reads weights where they were: an edited model's are somewhere else."""
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    tree = trees_of(lm, trees)[0]
    weight = lm.model.get_parameter("transformer.h.1.mlp.c_fc.weight")
    edited = with_tensors([(weight, weight.detach() + 0.1)])
    for n in (0, 1):
        trees.hidden(prefix, tree)
        with edited():
            trees.hidden(prefix, tree)
        assert trees.n_recordings == 2 * n
    trees.hidden(prefix, tree)
    assert trees.n_recordings == 2


def test_a_policy_with_recordings_is_the_same_policy(policy: LoraPolicy) -> None:
    facts = FACTS[:2]
    questions = stack_questions([(3, 4), (3, 5, 3), (4,), (3, 4)], "cpu")
    owners = [0, 0, 1, 1]

    def everything() -> list[torch.Tensor]:
        paths = policy.evaluate(facts, owners, questions)
        policy.lm.model.zero_grad()
        (paths.log_pf.sum() + paths.log_pterm[paths.log_pterm.isfinite()].sum()).backward()
        grads = [p.grad.clone() for p in policy.lm.model.parameters() if p.grad is not None]
        prior = policy.prior(facts, owners, questions)
        drawn = policy.sample(facts, 4, torch_rng(3))
        return [paths.log_pf, paths.log_flow, prior.log_pf, drawn.ids, drawn.lengths, *grads]

    wanted = everything()
    policy._trees = RecordedTrees(policy.lm, always=True)
    for _ in range(3):
        torch.testing.assert_close(everything(), wanted)
    kinds = {type(r) for r in policy._trees._recordings.made}
    assert RecordedGradient in kinds and len(kinds) == 2
    policy.release_graphs()
    assert policy._trees.n_recordings == 0
