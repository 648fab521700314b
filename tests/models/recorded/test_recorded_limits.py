"""Recordings that a GPU refuses, that are wrong, or that are too many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from contraflow.models import recordings
from contraflow.models.capture import CaptureFailed, Recording
from contraflow.models.causal_lm import CausalLM
from contraflow.models.recorded import recorded_trees
from contraflow.models.recorded.recorded_gradient import RecordedGradient
from contraflow.models.recorded.recorded_trees import RecordedTrees
from contraflow.models.token_tree import TokenTree
from contraflow.policy.lora import LoraPolicy
from support.models import fresh_lm
from support.recorded import HEADER, adapted_policy, gradients, trees_of


@pytest.fixture
def lm() -> CausalLM:
    return fresh_lm("gpt2")


@pytest.fixture
def policy() -> LoraPolicy:
    return adapted_policy()


@pytest.fixture
def stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings that run once and then give what they gave."""

    def once(step: Callable[[], None], *_args: Any) -> Recording:
        step()
        return Recording(lambda: None)

    def once_each(steps: Sequence[Callable[[], None]], *_args: Any) -> list[Recording]:
        forward, backward = steps
        forward()
        backward()
        return [Recording(lambda: None), Recording(lambda: None)]

    monkeypatch.setattr(recorded_trees, "captured", once)
    monkeypatch.setattr("contraflow.models.recorded.recorded_gradient.captured_in_turn", once_each)


def test_gradients_that_are_no_numbers_are_refused(
    policy: LoraPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil = RecordedGradient.run_backward

    def run_backward(*args: Any) -> list[torch.Tensor | None]:
        return [None if g is None else torch.full_like(g, torch.nan) for g in spoil(*args)]

    monkeypatch.setattr(RecordedGradient, "run_backward", run_backward)
    trees = RecordedTrees(policy.lm, always=True)
    prefix = policy.lm.prefix_cache(HEADER)
    tree = trees_of(policy.lm, trees)[0]
    for _ in range(3):
        found = gradients(policy, trees.hidden(prefix, tree))
        assert all(bool(grad.isfinite().all()) for grad in found)
    assert trees._failed == {True}


def test_a_refusal_to_learn_leaves_reading_recorded(
    policy: LoraPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> list[Recording]:
        raise CaptureFailed("operation not permitted")

    monkeypatch.setattr("contraflow.models.recorded.recorded_gradient.captured_in_turn", refuse)
    trees = RecordedTrees(policy.lm, always=True)
    prefix = policy.lm.prefix_cache(HEADER)
    tree = trees_of(policy.lm, trees)[0]
    for _ in range(3):
        trees.hidden(prefix, tree).sum().backward()
        with torch.no_grad():
            trees.hidden(prefix, tree)
    assert trees.n_recordings == 1 and trees.records


TOKENS = [[5, 3, 4, 4, 6, 7, 7], [6, 5, 7]]


@pytest.mark.usefixtures("stale")
@pytest.mark.parametrize("learns", [False, True])
def test_a_wrong_recording_is_found_and_not_used(
    policy: LoraPolicy, capsys: pytest.CaptureFixture[str], *, learns: bool
) -> None:
    lm = policy.lm
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache(HEADER)
    tree = TokenTree.of(TOKENS, lm.device)
    with torch.set_grad_enabled(learns):
        for _ in range(3):
            found = trees.hidden(prefix, tree)
            torch.testing.assert_close(found, lm.tree_hidden(prefix, tree))
    assert trees._failed == {learns} and not trees.n_recordings
    said = capsys.readouterr()
    assert (said.out + said.err).count("without CUDA graphs") == 1


def test_a_refused_recording_is_said_once(
    lm: CausalLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_args: object) -> Recording:
        raise CaptureFailed("operation not permitted")

    monkeypatch.setattr(recorded_trees, "captured", refuse)
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache("")
    tree = trees_of(lm, trees)[0]
    with torch.no_grad():
        for _ in range(3):
            found = trees.hidden(prefix, tree)
            torch.testing.assert_close(found, lm.tree_hidden(prefix, tree))
    said = capsys.readouterr()
    assert (said.out + said.err).count("operation not permitted") == 1


@torch.no_grad()
def test_recordings_in_use_are_not_dropped_for_others(
    lm: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "MOST", 2)
    monkeypatch.setattr(recordings, "IDLE", 4)
    trees = RecordedTrees(lm, always=True)
    prefix = lm.prefix_cache("")
    shapes = [TokenTree.of([[3] * n], lm.device) for n in (2, 3, 4)]
    made = []
    captured = recorded_trees.captured

    def counting(*args: Any) -> Recording:
        made.append(args)
        return captured(*args)

    monkeypatch.setattr(recorded_trees, "captured", counting)
    for _ in range(4):
        for tree in shapes:
            trees.hidden(prefix, tree)
    assert len(made) == 2  # the third shape runs unrecorded
    for _ in range(6):
        trees.hidden(prefix, shapes[2])
    assert len(made) == 3  # the others have not been used for a while
    assert trees.n_recordings == 2


@torch.no_grad()
def test_recordings_hold_so_many_bytes(lm: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = TokenTree.of([[3, 4]], lm.device)
    bytes_of_one = 2 * lm.hidden_size * 4
    for room, n in ((bytes_of_one - 1, 1), (2 * bytes_of_one, 2)):
        monkeypatch.setattr(recorded_trees, "MOST_BYTES", room)
        trees = RecordedTrees(lm, always=True)
        prefixes = [lm.prefix_cache(HEADER), lm.prefix_cache("who")]
        for prefix in prefixes * 3:
            trees.hidden(prefix, tree)
        assert trees.n_recordings == n
