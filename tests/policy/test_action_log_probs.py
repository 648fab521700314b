"""`action_log_probs` against autograd on a masked log-softmax, and its use of memory."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from contraflow.policy.action_log_probs import action_log_probs
from contraflow.policy.constraints import Constraints


def plain(
    logits: Tensor, c: Constraints, step: Tensor, at: Tensor, taken: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute it row by row: forbidden actions at -inf, a log-softmax, two entries."""
    rows = []
    for line, t in zip(logits, step.tolist(), strict=True):
        exists = torch.ones(len(line), dtype=torch.bool)
        exists[-1] = t >= c.min_len
        exists[:-1] = t < c.max_len
        rows.append(line.masked_fill(~exists, -torch.inf).log_softmax(-1))
    log_p = torch.stack(rows)
    return log_p[at, taken], log_p[:, -1]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    m=st.integers(1, 150),
    a=st.integers(2, 9),
    min_len=st.integers(1, 3),
    more=st.integers(0, 3),
    scale=st.sampled_from([0.1, 3.0, 60.0]),
)
def test_values_and_gradients_are_those_of_a_masked_log_softmax(
    seed: int, m: int, a: int, min_len: int, more: int, scale: float
):
    g = torch.Generator().manual_seed(seed)
    c = Constraints(torch.arange(a), min_len, min_len + more)
    logits = (scale * torch.randn(m, a, generator=g, dtype=torch.float64)).requires_grad_()
    step = torch.randint(0, c.max_len + 1, (m,), generator=g)
    where = torch.nonzero(step < c.max_len).squeeze(1)
    # several paths share states, so `at` has repeats
    at = where[torch.randint(0, len(where), (2 * m,), generator=g)] if len(where) else where
    taken = torch.randint(0, a - 1, (len(at),), generator=g)
    weight, of_stop = torch.randn(len(at), generator=g), torch.randn(m, generator=g)
    wanted = []
    for compute in (action_log_probs, plain):
        logits.grad = None
        log_taken, log_pterm = compute(logits, c, step, at, taken)
        loss = (weight * log_taken).sum() + (of_stop * log_pterm)[step >= c.min_len].sum()
        loss.backward()
        wanted.append((log_taken.detach(), log_pterm.detach(), logits.grad))
    for ours, theirs in zip(*wanted, strict=True):
        assert ours is not None and theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_nan_gradient_into_a_forbidden_stop_does_not_spread():
    """Entries of -inf are constants, so what a loss sends back to them is dropped."""
    c = Constraints(torch.arange(4), 2, 3)
    logits = torch.randn(2, 4, requires_grad=True)
    step = torch.tensor([0, 3])
    _, log_pterm = action_log_probs(logits, c, step, torch.tensor([0]), torch.tensor([1]))
    assert log_pterm.tolist() == [-math.inf, 0.0]
    log_pterm.backward(torch.tensor([math.nan, 1.0]))
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros(2, 4), rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(100, 5_000)])
def test_the_logits_are_not_copied(shape: tuple[int, int]):
    """Forward allocates a block of rows at most; backward one tensor of the logits' size."""
    m, a = shape
    c = Constraints(torch.arange(a), 1, 9)
    logits = torch.randn(m, a, requires_grad=True)
    step, at, taken = (
        torch.zeros(m, dtype=torch.long),
        torch.arange(m),
        torch.zeros(m, dtype=torch.long),
    )
    with torch.profiler.profile(profile_memory=True) as profile:
        log_taken, _ = action_log_probs(logits, c, step, at, taken)
        log_taken.sum().backward()
    whole = logits.nbytes
    large = [e.self_cpu_memory_usage for e in profile.events() if e.self_cpu_memory_usage >= whole]
    assert len(large) == 1, large
