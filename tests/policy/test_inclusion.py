"""Inclusion probabilities against the formula in 400 digits."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
import torch

from contraflow.policy.inclusion import log1mexp, log_inclusion


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def exact(x: float) -> float:
    """log(1 - exp(-exp(x)))"""
    with localcontext() as context:
        context.prec = 400
        return float((1 - (-Decimal(x).exp()).exp()).ln())


@pytest.mark.parametrize("x", [-700.5, -40.0, -20.1, -19.9, -1.0, -0.37, 0.0, 0.5, 3.0, 6.0])
def test_inclusion_is_the_formula(x: float) -> None:
    found = float(log_inclusion(tensor(x - 3), tensor(-3.0)))
    assert found == pytest.approx(exact(x), rel=1e-12)


def test_inclusion_at_the_ends_of_float64() -> None:
    """For tiny x, log(1 - exp(-exp(x))) is x itself; for huge ones the probability is 1."""
    found = log_inclusion(tensor(-1e6, -800, 40, 800, -5), tensor(0, 0, 0, 0, -math.inf))
    assert found.tolist() == [-1e6, -800, 0, 0, 0]


def test_inclusion_grows_with_the_probability() -> None:
    log_p = torch.linspace(-60, 10, 5001, dtype=torch.float64)
    assert bool((log_inclusion(log_p, tensor(-2.0)).diff() >= 0).all())


def test_float32_input_is_computed_in_float64() -> None:
    found = log_inclusion(torch.tensor([-30.0]), torch.tensor([0.0]))
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(-30.0, abs=1e-12)


@pytest.mark.parametrize("a", [1e-300, 1e-18, 0.5, 0.69, 0.7, 30.0])
def test_log1mexp_does_not_cancel(a: float) -> None:
    with localcontext() as context:
        context.prec = 400
        expected = float((1 - (-Decimal(a)).exp()).ln())
    assert float(log1mexp(tensor(a))) == pytest.approx(expected, rel=1e-12)


def test_log1mexp_at_its_ends() -> None:
    assert log1mexp(tensor(0.0, math.inf)).tolist() == [-math.inf, 0.0]
