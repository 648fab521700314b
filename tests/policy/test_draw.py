"""Sampling a column by inverting the cumulative distribution in two levels."""

from __future__ import annotations

import pytest
import torch

from contraflow.models.decoding.texts import Now
from contraflow.policy.constraints import Constraints
from contraflow.policy.draw import BLOCK, Sampling, categorical


def first_above(p: list[float], u: float) -> int:
    """The column by a loop over all probabilities in float64."""
    total = 0.0
    for column, value in enumerate(p):
        total += value
        if total > u:
            return column
    raise AssertionError("u is below 1")


@pytest.mark.parametrize("n_columns", [1, 3, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
def test_columns_equal_a_loop_over_all_probabilities(n_columns: int) -> None:
    """1000 evenly spaced numbers between 0 and 1 in each of two rows with gaps of mass zero."""
    logits = torch.randn(2, n_columns, generator=torch.Generator().manual_seed(1)) * 3
    logits[:, 1::3] = -torch.inf
    u = (torch.arange(2000) % 1000 + 0.5) / 1000
    row = torch.arange(2).repeat_interleave(1000)
    column, log_p = categorical(logits.clone(), row, u)
    log_probs = logits.double().log_softmax(-1)
    p = log_probs.exp().tolist()
    expected = torch.tensor([first_above(p[r], x) for r, x in zip(row, u.tolist(), strict=True)])
    # In float32 a number within rounding of a border may fall on its other side.
    assert int((column != expected).sum()) <= 2
    torch.testing.assert_close(log_p.double(), log_probs[row, column], atol=1e-4, rtol=0)
    assert bool(log_p.isfinite().all())


def test_the_stop_is_hidden_until_the_shortest_length() -> None:
    """Half of the mass is on the stop, so u = 0.9 draws it, from the second token on."""
    sampling = Sampling(Constraints(torch.tensor([7, 9, 1]), min_len=1, max_len=4))
    for step, ends, token, p in ((0, False, 9, 0.5), (1, True, 1, 0.5)):
        logits = torch.tensor([[1.0, 1.0, 2.0]]).log()
        now = Now(torch.tensor([step]), torch.tensor([0.9]), torch.ones(()))
        chosen = sampling(logits, torch.tensor([0]), now)
        assert bool(chosen.ends[0]) is ends and int(chosen.token[0]) == token
        assert chosen.log_p.exp().tolist() == pytest.approx([p])


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_log_p_is_that_of_the_tempered_distribution(temperature: float) -> None:
    """p = (1, 3, 4) / 8 to the power 1 / temperature; u = 0 takes the first column."""
    sampling = Sampling(Constraints(torch.tensor([7, 9, 1]), min_len=1, max_len=4))
    logits = torch.tensor([[1.0, 3.0, 4.0]]).log()
    now = Now(torch.tensor([2]), torch.tensor([0.0]), torch.tensor(temperature))
    chosen = sampling(logits, torch.tensor([0]), now)
    mass = [x ** (1 / temperature) for x in (1, 3, 4)]
    assert chosen.log_p.exp().tolist() == pytest.approx([mass[0] / sum(mass)])
