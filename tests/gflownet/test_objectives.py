"""The losses against numbers worked out by hand and slow loops, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contraflow.gflownet.objectives import (
    LOG_ZERO,
    DetailedBalance,
    Objective,
    SubTB,
    TrajectoryBalance,
    VarGrad,
    group_mean,
    potentials,
)
from contraflow.types import PrefixReward, TerminalReward
from support.objectives import (
    BOUNDED,
    LAMBDAS,
    OBJECTIVES,
    PENALIZED,
    doubled,
    gradients,
    naive_loss,
    naive_u,
    paths_of,
    random_case,
)


def test_potentials_by_hand():
    """One question of two tokens.

    log P_F of its tokens -1 and -2, of the stop -0.5; flows 5, 3, 4; log R = -10.
    u_0 = 5; u_1 = 3 - (-1) = 4; u_2 = 4 - (-1 - 2) = 7; u_3 = -10 - (-3) - (-0.5) = -6.5.
    """
    paths = paths_of([[-1.0, -2.0]], [-0.5], [[5.0, 3.0, 4.0]])
    got = potentials(paths, TerminalReward(torch.tensor([-10.0])))
    assert got.u.tolist() == [[5.0, 4.0, 7.0, -6.5]]
    assert got.mask.tolist() == [[True] * 4]
    assert got.terminal.tolist() == [-6.5]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (SubTB(1.0), 438.75 / 6),
        (SubTB(0.5), 141.21875 / 2.125),
        (TrajectoryBalance(), 132.25),
        (DetailedBalance(), 192.25),
    ],
)
def test_losses_by_hand(objective: Objective, expected: float):
    """u = 5, 4, 7, -6.5 as above.

    Neighbors: (5-4)² = 1, (4-7)² = 9, (7+6.5)² = 182.25: together 192.25, which is DB. Two apart:
    (5-7)² = 4, (4+6.5)² = 110.25: together 114.25. Three apart: (5+6.5)² = 132.25, which is TB.
    SubTB, λ = 1: (192.25 + 114.25 + 132.25) / 6 pairs = 438.75 / 6. SubTB, λ = ½: (½·192.25 +
    ¼·114.25 + ⅛·132.25) / (3·½ + 2·¼ + ⅛) = 141.21875 / 2.125.
    """
    u = potentials(
        paths_of([[-1.0, -2.0]], [-0.5], [[5.0, 3.0, 4.0]]), TerminalReward(torch.tensor([-10.0]))
    )
    assert float(objective(u, torch.tensor([0]))) == pytest.approx(expected)


def test_vargrad_by_hand():
    """Two facts: u_{L+1} = 1, 3 and 10, 10, 16.

    Fact 0: mean 2, squares 1 + 1. Fact 1: mean 12, squares 4 + 4 + 16. Together 26 over 5
    questions.
    """
    paths = paths_of([[0.0]] * 5, [0.0] * 5, [[0.0, 0.0]] * 5)
    u = potentials(paths, TerminalReward(torch.tensor([1.0, 10.0, 3.0, 10.0, 16.0])))
    assert float(VarGrad()(u, torch.tensor([0, 1, 0, 1, 1]))) == pytest.approx(26 / 5)


def test_every_question_has_the_mean_of_its_group():
    """Whatever the numbers of the groups are: 9 is no size, and 0 and 1 have no members."""
    values = torch.tensor([1.0, 7.0, 3.0])
    assert group_mean(values, torch.tensor([2, 9, 2])).tolist() == [2.0, 7.0, 2.0]
    weight = torch.tensor([1.0, 5.0, 3.0])
    assert group_mean(values, torch.tensor([2, 9, 2]), weight).tolist() == [2.5, 7.0, 2.5]


# Each example is one of every objective, and takes a twentieth of a second.
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    lam=st.sampled_from(LAMBDAS),
    data=st.data(),
)
def test_every_loss_equals_its_naive_loop(
    seed: int, lengths: list[int], lam: float, data: st.DataObject
):
    n = len(lengths)
    group = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    nothing = data.draw(
        st.lists(st.sampled_from([False, False, False, True]), min_size=n, max_size=n)
    )
    paths, reward = random_case(seed, lengths)
    paths, log_reward = doubled(paths), reward.log_reward.double()
    reward = TerminalReward(log_reward.masked_fill(torch.tensor(nothing), -math.inf))
    u = potentials(paths, reward)
    # LOG_ZERO is the log of a reward of zero by definition.
    assert bool((reward.log_reward[torch.tensor(nothing)] == LOG_ZERO).all())
    us = [naive_u(paths, reward, row) for row in range(n)]
    for row, expected in enumerate(us):
        assert u.u[row, : len(expected)].tolist() == pytest.approx(expected, abs=1e-9)
        assert not u.u[row, len(expected) :].any()
    for objective in (SubTB(lam), SubTB(lam, False), *OBJECTIVES[-4:], *BOUNDED, *PENALIZED):
        loss = float(objective(u, torch.tensor(group)))
        assert loss == pytest.approx(naive_loss(objective, us, group), rel=1e-6, abs=1e-6)
        _, grads = gradients(objective, paths, reward, torch.tensor(group))
        assert all(bool(grad.isfinite().all()) for grad in grads)


@pytest.mark.parametrize("lam", [1e-4, 50.0, 1e6])
def test_no_lambda_leaves_the_range_of_floats(lam: float):
    """λ to the power of 41 is no float32: the loss is that of weights made in higher precision."""
    paths, reward = random_case(3, [40, 2])
    group = torch.tensor([0, 1])
    loss = float(SubTB(lam, route_level=False)(potentials(paths, reward), group))
    us = [naive_u(paths, reward, row) for row in range(2)]
    due = naive_loss(SubTB(lam, route_level=False), us, [0, 1])
    assert loss == pytest.approx(due, rel=1e-4)


def test_subtb_pairs_include_the_terminal_node():
    """With inner nodes balanced and the terminal off by 6, the loss is 36 × its share of the pairs.

    L = 2 has nodes 0 … 3, so 6 pairs of which 3 end in the terminal: 36 · 3 / 6 = 18.
    """
    paths = paths_of([[0.0, 0.0]], [0.0], [[0.0, 0.0, 0.0]])
    u = potentials(paths, TerminalReward(torch.tensor([6.0])))
    assert float(SubTB(1.0)(u, torch.tensor([0]))) == pytest.approx(18.0)


def test_long_questions_do_not_outweigh_short_ones():
    """Normalized per path: the same residuals give the same loss at every length.

    Only the terminal is off by 1. λ → 0 leaves neighbors: 1 of L + 1 pairs. L = 1: ½, L = 9: 1/10.
    """
    paths = paths_of([[0.0], [0.0] * 9], [0.0, 0.0], [[0.0] * 2, [0.0] * 10])
    u = potentials(paths, TerminalReward(torch.tensor([1.0, 1.0])))
    assert float(SubTB(1e-6)(u, torch.tensor([0, 0]))) == pytest.approx(
        (1 / 2 + 1 / 10) / 2, rel=1e-4
    )


def test_forward_looking_flow_equals_hand_made_flow():
    """v_t = correction + log prior of the prefix; by hand the sum is the same vector v.

    Corrections 1, 0, 2; prior −1, −3 for the tokens, so prefixes 0, −1, −4: v = 1, −1, −2.
    """
    corrected = paths_of([[-0.5, -0.25]], [-1.0], [[1.0, 0.0, 2.0]])
    by_hand = paths_of([[-0.5, -0.25]], [-1.0], [[1.0, -1.0, -2.0]])
    reward = TerminalReward(torch.tensor([-8.0]))
    got = potentials(corrected, reward, torch.tensor([[0.0, -1.0, -4.0]]))
    assert got.u.tolist() == potentials(by_hand, reward).u.tolist()
    for objective in OBJECTIVES:
        loss, grads = gradients(
            objective, corrected, reward, torch.tensor([0]), torch.tensor([[0.0, -1.0, -4.0]])
        )
        loss_by_hand, grads_by_hand = gradients(objective, by_hand, reward, torch.tensor([0]))
        assert loss == pytest.approx(loss_by_hand)
        torch.testing.assert_close(grads[0], grads_by_hand[0])


def test_a_reward_per_prefix_is_refused():
    paths, _ = random_case(0, [2, 3])
    with pytest.raises(TypeError, match="TerminalReward, got PrefixReward"):
        potentials(paths, PrefixReward(torch.zeros(2, 4)))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 4), (2, 1), (1,), (3,), ()])
def test_rewards_of_another_shape_are_refused_not_broadcast(shape: tuple[int, ...]):
    paths, _ = random_case(0, [2, 3])
    with pytest.raises(ValueError, match="log_reward has shape"):
        potentials(paths, TerminalReward(torch.zeros(shape)))


@pytest.mark.parametrize("shape", [(4,), (2, 1), (1, 4), (2, 3)])
def test_priors_of_another_shape_are_refused_not_broadcast(shape: tuple[int, ...]):
    paths, reward = random_case(0, [2, 3])
    with pytest.raises(ValueError, match="log_flow_prior has shape"):
        potentials(paths, reward, torch.zeros(shape))
