"""`action_log_probs` against autograd on a masked log-softmax, and its use of memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from contraflow.models.attention.architecture import LogitTransform
from contraflow.policy import action_log_probs as file
from contraflow.policy.action_log_probs import ActionHead, action_log_probs
from contraflow.policy.constraints import Constraints
from contraflow.policy.states import Actions

IDENTITY = LogitTransform(1.0, None)


def head_of(weight: Tensor, transform: LogitTransform = IDENTITY) -> ActionHead:
    return ActionHead(lambda hidden: transform(hidden @ weight.T), weight, transform.slope)


def actions_of(at: Tensor, column: Tensor) -> Actions:
    order = at.argsort(stable=True)
    return Actions(at[order], column[order], at[order].numpy())


def plain(logits: Tensor, c: Constraints, step: Tensor, actions: Actions) -> tuple[Tensor, Tensor]:
    """Compute it row by row: forbidden actions at -inf, a log-softmax, two entries."""
    rows = []
    for line, t in zip(logits, step.tolist(), strict=True):
        exists = torch.ones(len(line), dtype=torch.bool)
        exists[-1] = t >= c.min_len
        exists[:-1] = t < c.max_len
        rows.append(line.masked_fill(~exists, -torch.inf).log_softmax(-1))
    log_p = torch.stack(rows)
    return log_p[actions.at, actions.column], log_p[:, -1]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    m=st.integers(1, 300),
    a=st.integers(2, 9),
    min_len=st.integers(1, 3),
    more=st.integers(0, 3),
    scale=st.sampled_from([0.1, 3.0, 60.0]),
    transform=st.sampled_from([IDENTITY, LogitTransform(0.25, None), LogitTransform(2.0, 5.0)]),
)
def test_values_and_gradients_are_those_of_a_masked_log_softmax(
    seed: int, m: int, a: int, min_len: int, more: int, scale: float, transform: LogitTransform
):
    g = torch.Generator().manual_seed(seed)
    c = Constraints(torch.arange(a), min_len, min_len + more)
    hidden = torch.randn(m, 4, generator=g, dtype=torch.float64).requires_grad_()
    head = head_of(scale * torch.randn(a, 4, generator=g, dtype=torch.float64), transform)
    step = torch.randint(0, c.max_len + 1, (m,), generator=g)
    where = torch.nonzero(step < c.max_len).squeeze(1)
    # several actions are taken at one state, so `at` has repeats
    at = where[torch.randint(0, len(where), (2 * m,), generator=g)] if len(where) else where
    actions = actions_of(at, torch.randint(0, a - 1, (len(at),), generator=g))
    weight, of_stop = torch.randn(len(at), generator=g), torch.randn(m, generator=g)
    wanted = []
    for compute in (
        lambda: action_log_probs(hidden, head, c, step, actions),
        lambda: plain(head.logits(hidden), c, step, actions),
    ):
        hidden.grad = None
        log_taken, log_pterm = compute()
        loss = (weight * log_taken).sum() + (of_stop * log_pterm)[step >= c.min_len].sum()
        loss.backward()
        wanted.append((log_taken.detach(), log_pterm.detach(), hidden.grad))
    for ours, theirs in zip(*wanted, strict=True):
        assert ours is not None and theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def test_blocks_of_another_size_change_nothing(monkeypatch: pytest.MonkeyPatch):
    """300 states in blocks of 7 and in one; a block has a share of the actions, or none."""
    g = torch.Generator().manual_seed(0)
    c = Constraints(torch.arange(5), 1, 3)
    hidden = torch.randn(300, 4, generator=g, dtype=torch.float64).requires_grad_()
    head = head_of(torch.randn(5, 4, generator=g, dtype=torch.float64))
    step = torch.randint(0, 3, (300,), generator=g)
    at = torch.randint(100, 200, (50,), generator=g)
    actions = actions_of(at, torch.randint(0, 4, (50,), generator=g))
    found = []
    for size in (7, 1000):
        monkeypatch.setattr(file, "BLOCK_STATES", size)
        hidden.grad = None
        log_taken, log_pterm = action_log_probs(hidden, head, c, step, actions)
        (log_taken.sum() + log_pterm[step > 0].square().sum()).backward()
        found.append((log_taken.detach(), log_pterm.detach(), hidden.grad))
    for small, whole in zip(*found, strict=True):
        torch.testing.assert_close(small, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("zero_rows", [None, 3])
@pytest.mark.parametrize("p_taken", [0.5, 0.99, 0.999, 0.9999])
def test_a_nearly_certain_action_keeps_its_gradient_in_half_precision(
    dtype: torch.dtype, zero_rows: int | None, p_taken: float
):
    """W_a − Σ P(c) W_c is of the size 1 − P(a), to which half precision rounds P(a) itself."""
    g = torch.Generator().manual_seed(0)
    n_actions = 13
    weight = torch.randn(n_actions, 16, generator=g).to(dtype)
    logits = 0.1 * torch.randn(1, n_actions, generator=g)
    rest = logits[:, 1:].exp().sum()
    logits[:, 0] = (p_taken / (1.0 - p_taken) * rest).log()
    padded = None
    if zero_rows is not None:
        padded = torch.cat([weight, torch.zeros(zero_rows, 16, dtype=dtype)])
    p = logits.double().softmax(1)
    exact = weight[0].double() - p[0] @ weight.double()
    found = weight[0].float() - ActionHead(
        lambda hidden: hidden, weight, IDENTITY.slope, padded
    ).mean_row_(p.float())
    error = (found[0].double() - exact).norm() / exact.norm()
    assert error < 0.01


def test_a_nan_gradient_into_a_forbidden_stop_does_not_spread():
    """Entries of -inf are constants, so what a loss sends back to them is dropped."""
    c = Constraints(torch.arange(4), 2, 3)
    hidden = torch.randn(2, 3, requires_grad=True)
    step = torch.tensor([0, 3])
    actions = Actions(torch.tensor([0]), torch.tensor([1]), np.array([0]))
    _, log_pterm = action_log_probs(hidden, head_of(torch.randn(4, 3)), c, step, actions)
    assert log_pterm.tolist() == [-math.inf, 0.0]
    log_pterm.backward(torch.tensor([math.nan, 1.0]))
    assert hidden.grad is not None
    torch.testing.assert_close(hidden.grad, torch.zeros(2, 3), rtol=0, atol=1e-7)


def test_the_logits_exist_once_and_block_by_block():
    """Four blocks of states: no tensor is as large as the logits, forward or backward, and at no
    time are there more than two of a block's size: logits, and what their normalizer needs.
    """
    m, a = 4 * file.BLOCK_STATES, 5_000
    c = Constraints(torch.arange(a), 1, 9)
    hidden = torch.randn(m, 8, requires_grad=True)
    head = head_of(torch.randn(a, 8))
    step = torch.zeros(m, dtype=torch.long)
    actions = Actions(torch.arange(m), torch.zeros(m, dtype=torch.long), np.arange(m))
    with torch.profiler.profile(profile_memory=True) as profile:
        log_taken, _ = action_log_probs(hidden, head, c, step, actions)
        log_taken.sum().backward()
    block = 4 * file.BLOCK_STATES * a
    held = largest = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            largest = max(largest, held)
    assert block < largest < 2.5 * block
