"""Sums within facts, which must not wait for a GPU."""

from __future__ import annotations

import pytest
import torch

from contraflow.gflownet.groups import centered, group_log_softmax, group_mean, n_facts
from support.waits import counted_waits


@pytest.mark.parametrize("weighted", [False, True])
def test_no_function_of_groups_waits(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU that stands for a GPU; the numbers are right there too."""
    device = torch.device("cpu")
    with counted_waits(monkeypatch) as waits:
        values = torch.tensor([1.0, 7.0, 3.0], device=device)
        group = torch.tensor([2, 9, 2], device=device)
        weight = torch.tensor([1.0, 5.0, 3.0], device=device) if weighted else None
        sent = waits.found.total()
        found = [
            group_mean(values, group, weight),
            centered(values, group),
            group_log_softmax(values, group),
            n_facts(group),
        ]
    assert waits.found.total() == sent
    mean, around, _, n = (tensor.tolist() for tensor in found)
    assert mean == ([2.5, 7.0, 2.5] if weighted else [2.0, 7.0, 2.0])
    assert around == [-1.0, 0.0, 1.0]
    assert n == 2
