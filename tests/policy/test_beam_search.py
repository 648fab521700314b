"""Gumbel variables with a given maximum: the formula in 80 digits, and no overflow."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
import torch

from contraflow.policy.beam_search import with_maximum


def conditioned(row: list[float], maximum: float) -> list[float]:
    gumbel = torch.tensor([row], dtype=torch.float64)
    found: list[float] = with_maximum(gumbel, torch.tensor([maximum], dtype=torch.float64))[
        0
    ].tolist()
    return found


def exact(row: list[float], maximum: float) -> list[float]:
    """-log(exp(-T) - exp(-Z) + exp(-G))"""
    with localcontext() as context:
        context.prec = 400
        top, largest = (-Decimal(maximum)).exp(), (-Decimal(row[0])).exp()
        return [float(-(top - largest + (-Decimal(g)).exp()).ln()) for g in row]


@pytest.mark.parametrize("maximum", [-40.0, -3.0, 0.0, 2.5, 40.0])
@pytest.mark.parametrize("row", [[1.0, 0.5, -4.0], [-30.0, -30.0 - 1e-9, -80.0], [30.0, -30.0]])
def test_conditioning_is_the_formula(row: list[float], maximum: float) -> None:
    assert conditioned(row, maximum) == pytest.approx(exact(row, maximum), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("maximum", [-1e4, -800.0, 0.0, 800.0, 1e4])
def test_conditioning_neither_overflows_nor_reorders(maximum: float) -> None:
    row = [5.0, 5.0 - 1e-14, 4.0, -800.0, -1e5, -math.inf]
    found = conditioned(row, maximum)
    assert found[0] == maximum
    assert not any(map(math.isnan, found))
    assert found == sorted(found, reverse=True)
    assert found[-1] == -math.inf
