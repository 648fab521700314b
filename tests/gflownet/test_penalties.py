"""Penalties against numbers by hand, and the divergences that they minimize, by enumeration."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from contraflow.gflownet.objectives import TrajectoryBalance, VarGrad
from contraflow.gflownet.penalties import Linex, Penalty, ShiftedCosh, Square, symmetric
from contraflow.gflownet.potentials import Potentials
from contraflow.types import LOG_ZERO

ALL = [
    Square(),
    Square(2.0),
    Linex(),
    Linex(3.0),
    Linex(alpha=0.5),
    Linex(alpha=2.0),
    ShiftedCosh(),
    ShiftedCosh(3.0),
]
LN2, LN3 = math.log(2), math.log(3)


@pytest.mark.parametrize(
    ("penalty", "residual", "expected"),
    [
        (Square(), 3.0, 9.0),
        (Square(2.0), 3.0, 2 * 2 * 3 - 4),
        (Square(2.0), -3.0, 8.0),
        (Linex(), LN2, 2 * (2 - LN2 - 1)),
        (Linex(), -LN2, 2 * (0.5 + LN2 - 1)),
        # α = ½ at log 4: 8 (e^{log 2} − log 2 − 1).
        (Linex(alpha=0.5), 2 * LN2, 8 * (1 - LN2)),
        # Beyond log 2 the tangent, whose slope is 2 (2 − 1) = 2.
        (Linex(LN2), LN2 + 5, 2 * (1 - LN2) + 10),
        (ShiftedCosh(), LN2, 2 + 0.5 - 2),
        (ShiftedCosh(), -LN2, 0.5),
        # Slope 2 − ½ beyond log 2.
        (ShiftedCosh(LN2), LN2 + 2, 0.5 + 3),
    ],
)
def test_penalties_by_hand(penalty: Penalty, residual: float, expected: float):
    assert float(penalty(torch.tensor(residual))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("penalty", ALL, ids=str)
def test_every_penalty_is_the_square_near_zero(penalty: Penalty):
    r = torch.tensor([-2e-2, 0.0, 1e-2], dtype=torch.float64)
    torch.testing.assert_close(penalty(r), r.square(), rtol=2e-2, atol=0)


@pytest.mark.parametrize("penalty", ALL, ids=str)
def test_slope_is_the_gradient_and_never_decreases(penalty: Penalty):
    r = torch.linspace(-12, 12, 241, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(penalty(r).sum(), r)
    torch.testing.assert_close(penalty.slope(r), grad)
    assert bool((grad.diff() >= 0).all()) and float(penalty.slope(torch.zeros(()))) == 0


@pytest.mark.parametrize("penalty", ALL, ids=str)
def test_cost_and_gradient_of_a_reward_of_zero_are_finite(penalty: Penalty):
    r = torch.tensor([LOG_ZERO, -LOG_ZERO], requires_grad=True)
    cost = penalty(r)
    (grad,) = torch.autograd.grad(cost.sum(), r)
    assert bool(cost.isfinite().all() and grad.isfinite().all())


@pytest.mark.parametrize(
    ("penalty", "values", "weight", "expected"),
    [
        (Square(), [0.0, 6.0], None, 3.0),
        (Square(), [0.0, 6.0], [2.0, 1.0], 2.0),
        # Two residuals −c, one beyond the bound: 2 · 2 c = 2 · 1.
        (Square(1.0), [0.0, 0.0, 10.0], None, 0.5),
        # The log of the mean of 1 and 3.
        (Linex(), [0.0, LN3], None, LN2),
        (Linex(), [0.0, LN3], [1.0, 3.0], math.log(2.5)),
        # α = ½: 2 log of the mean of 1 and √9.
        (Linex(alpha=0.5), [0.0, 2 * LN3], None, 2 * LN2),
        # sinh(0 − c) · 2 + sinh(log 4 − c) = 0: e^{2c} = (2 + 4) / (2 + ¼).
        (ShiftedCosh(), [0.0, 0.0, 2 * LN2], None, 0.5 * math.log(6 / 2.25)),
    ],
)
def test_centers_by_hand(
    penalty: Penalty, values: list[float], weight: list[float] | None, expected: float
):
    w = None if weight is None else torch.tensor(weight)
    group = torch.zeros(len(values), dtype=torch.long)
    center = penalty.center(torch.tensor(values), group, w)
    assert center.tolist() == pytest.approx([expected] * len(values), abs=1e-6)


@pytest.mark.parametrize("penalty", ALL, ids=str)
def test_a_center_minimizes_the_weighted_cost_of_its_fact(penalty: Penalty):
    """Moving it either way costs more, in each of two facts."""
    rng = torch.Generator().manual_seed(1)
    u = 4 * torch.randn(9, generator=rng, dtype=torch.float64)
    weight = torch.rand(9, generator=rng, dtype=torch.float64)
    group = torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 0])
    center = penalty.center(u, group, weight)
    for fact in (0, 1):
        rows = group == fact

        def cost(c: Tensor, rows: Tensor = rows) -> float:
            return float((weight * penalty(u - c))[rows].sum())

        best = center[rows][0]
        assert cost(best) < min(cost(best + d) for d in (-1e-2, 1e-2))


def test_linex_is_even_where_no_end_is_the_later_one():
    """(e^r − r − 1) + (e^{−r} + r − 1) = e^r + e^{−r} − 2, the shifted cosh."""
    r = torch.linspace(-3, 3, 13)
    torch.testing.assert_close(symmetric(Linex(), r), ShiftedCosh()(r))
    torch.testing.assert_close(symmetric(Square(1.0), r), Square(1.0)(r))


LOG_R = torch.tensor([0.5, -1.0, 2.0, -3.0, 1.0], dtype=torch.float64)
TARGET = LOG_R.softmax(0)


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum()


DIVERGENCES = [
    pytest.param(Square(), lambda p: 2 * kl(p, TARGET), id="square"),
    pytest.param(Linex(), lambda p: 2 * kl(TARGET, p), id="linex"),
    pytest.param(
        Linex(alpha=0.5), lambda p: 8 * (1 - (p * TARGET).sqrt().sum()), id="linex of a half"
    ),
    pytest.param(
        ShiftedCosh(),
        lambda p: kl(TARGET, p) + 0.5 * (p.square() / TARGET).sum(),
        id="shifted cosh",
    ),
]


def enumerated(logits: Tensor, log_z: Tensor | float = 0.0) -> Potentials:
    """Return the potentials of five questions of one action each: u = log Z, log R − log P_F."""
    terminal = LOG_R - logits.log_softmax(0)
    level = torch.zeros_like(terminal) + log_z
    u = torch.stack([level, terminal], 1)
    return Potentials(u, u, torch.ones(5, 2, dtype=torch.bool), torch.ones(5, dtype=torch.long))


@pytest.mark.parametrize(("penalty", "divergence"), DIVERGENCES)
def test_the_expected_gradient_is_that_of_a_divergence(penalty: Penalty, divergence):
    """Trajectory balance with the exact log Z, in expectation over P_F: weights P_F, held fixed."""
    logits = torch.tensor([0.3, 1.0, -0.5, 0.1, -2.0], dtype=torch.float64, requires_grad=True)
    p = logits.softmax(0)
    group = torch.zeros(5, dtype=torch.long)
    loss = TrajectoryBalance(penalty)(enumerated(logits, LOG_R.logsumexp(0)), group, p.detach())
    (grad,) = torch.autograd.grad(loss, logits)
    (expected,) = torch.autograd.grad(divergence(logits.softmax(0)), logits)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize(("penalty", "divergence"), DIVERGENCES[:3])
def test_vargrad_finds_the_level_by_itself(penalty: Penalty, divergence):
    """With its own center, the gradient is that of the same divergence, up to the level.

    Square: the mean of u is the ELBO, a shift that the policy's gradient does not feel. Linex: the
    center is log Z itself for α = 1. For α = ½ it is 2 log Σ √(p R), so e^{α(u − c)} is divided by
    B = Σ √(p R / Z), and the gradient is that of −8 log B.
    """
    logits = torch.tensor([0.3, 1.0, -0.5, 0.1, -2.0], dtype=torch.float64, requires_grad=True)
    p = logits.softmax(0)
    loss = VarGrad(penalty)(enumerated(logits), torch.zeros(5, dtype=torch.long), p.detach())
    (grad,) = torch.autograd.grad(loss, logits)
    if penalty == Linex(alpha=0.5):
        divergence = lambda p: -8 * (p * TARGET).sqrt().sum().log()  # noqa: E731
    (expected,) = torch.autograd.grad(divergence(logits.softmax(0)), logits)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("penalty", ALL, ids=str)
def test_the_optimum_of_vargrad_is_r_over_z(penalty: Penalty):
    """Descent on all five questions, drawn equally often, ends at R / Z.

    A quasi-Newton method takes tens of steps, where Adam takes hundreds.
    """
    logits = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = VarGrad(penalty)(enumerated(logits), torch.zeros(5, dtype=torch.long))
        value.backward()
        return value

    optimizer.step(loss)
    torch.testing.assert_close(logits.detach().softmax(0), TARGET, atol=1e-4, rtol=0)
