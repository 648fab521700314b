"""What must not change a loss or its gradient: padding, order, the exact solution, far outliers."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from contraflow.gflownet.objectives import Objective, SubTB
from contraflow.types import PathLogProbs, TerminalReward
from support.objectives import (
    BOUNDED,
    OBJECTIVES,
    PENALIZED,
    gradients,
    paths_of,
    random_case,
)


@pytest.mark.parametrize("objective", OBJECTIVES + BOUNDED + PENALIZED, ids=str)
def test_nothing_moves_at_the_exact_solution(objective: Objective):
    """u constant along every path (another constant for each fact): loss 0 and gradient 0
    everywhere.

    v_t = c + Σ_{k<t} log P_F and log R = c + log P_F(question) give u_t = c for all t.
    """
    paths, _ = random_case(5, [1, 4, 2, 6])
    group = torch.tensor([0, 0, 1, 1])
    c = torch.tensor([2.0, -7.0])[group]
    cumulative = torch.cat([torch.zeros(4, 1), paths.log_pf], 1).cumsum(1)
    exact = dataclasses.replace(paths, log_flow=c[:, None] + cumulative)
    loss, grads = gradients(objective, exact, TerminalReward(c + paths.log_p_question), group)
    assert loss == pytest.approx(0.0, abs=1e-9)
    for grad in grads:
        torch.testing.assert_close(grad, torch.zeros_like(grad), atol=1e-5, rtol=0)


@pytest.mark.parametrize("objective", OBJECTIVES + BOUNDED + PENALIZED, ids=str)
def test_padding_changes_nothing(objective: Objective):
    """Five more columns with any flow; log-probabilities beyond the end are 0 by contract."""
    paths, reward = random_case(1, [3, 1, 5])
    wide = PathLogProbs(
        torch.nn.functional.pad(paths.log_pf, (0, 5)),
        torch.nn.functional.pad(paths.log_pterm, (0, 5)),
        torch.nn.functional.pad(paths.log_flow, (0, 5), value=1e4),
        paths.lengths,
    )
    group = torch.tensor([0, 1, 0])
    loss, grads = gradients(objective, paths, reward, group)
    wide_loss, wide_grads = gradients(objective, wide, reward, group)
    assert wide_loss == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(wide_grads[0][:, :5], grads[0])
    torch.testing.assert_close(wide_grads[2][:, :6], grads[2])
    assert not wide_grads[2][:, 6:].any()


@pytest.mark.parametrize("objective", OBJECTIVES + BOUNDED + PENALIZED, ids=str)
def test_the_order_of_questions_changes_nothing(objective: Objective):
    paths, reward = random_case(2, [3, 1, 5, 2])
    group, order = torch.tensor([0, 1, 0, 1]), torch.tensor([2, 0, 3, 1])
    shuffled = PathLogProbs(*(getattr(paths, f.name)[order] for f in dataclasses.fields(paths)))
    loss, grads = gradients(objective, paths, reward, group)
    again, grads_again = gradients(
        objective, shuffled, TerminalReward(reward.log_reward[order]), group[order]
    )
    assert again == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(grads_again[0], grads[0][order])


@pytest.mark.parametrize(
    ("objective", "plain"), list(zip(BOUNDED, [SubTB(0.9), *OBJECTIVES[-4:]], strict=True)), ids=str
)
def test_a_bound_changes_the_loss_of_outliers_only(objective: Objective, plain: Objective):
    """Residuals below 2 give the same number.

    With one log R off by 1000 the plain gradient grows and the bounded one does not.
    """
    near = paths_of([[-0.1, -0.2], [-0.3]], [-0.1, -0.2], [[0.1, 0.0, -0.1], [0.1, 0.2]])
    reward, group = TerminalReward(torch.tensor([-0.5, 0.3])), torch.tensor([0, 0])
    loss, grads = gradients(objective, near, reward, group)
    if isinstance(plain, SubTB):
        plain = dataclasses.replace(plain, route_level=False)  # a bounded SubTB does not route
    same, same_grads = gradients(plain, near, reward, group)
    assert loss == pytest.approx(same, rel=1e-5)
    for a, b in zip(grads, same_grads, strict=True):
        torch.testing.assert_close(a, b)
    far = TerminalReward(torch.tensor([-1000.0, 0.3]))

    def size(o):
        return max(float(g.nan_to_num().abs().max()) for g in gradients(o, near, far, group)[1])

    assert size(objective) <= 4.0 + 1e-4 < 100 < size(plain)


@pytest.mark.parametrize("objective", OBJECTIVES + BOUNDED + PENALIZED, ids=str)
def test_gradients_stay_finite_with_stops_of_mass_zero(objective: Objective):
    """log P(stop) = -inf before the minimum length, log R ≈ −80 after a −50 penalty, R = 0."""
    paths, _ = random_case(6, [4, 6, 5])
    reward = TerminalReward(torch.tensor([-80.0, -math.inf, -12.0]))
    loss, grads = gradients(objective, paths, reward, torch.tensor([0, 0, 0]))
    assert math.isfinite(loss)
    assert all(bool(g.isfinite().all()) for g in grads)
