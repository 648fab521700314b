"""The losses against numbers worked out by hand, slow loops, and the solutions they must keep."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

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
from contraflow.types import PathLogProbs, PrefixReward, TerminalReward
from support.objectives import (
    BOUNDED,
    LAMBDAS,
    OBJECTIVES,
    PENALIZED,
    doubled,
    gradients,
    leaves,
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
    floored = TerminalReward(reward.log_reward.clamp(min=LOG_ZERO))
    us = [naive_u(paths, floored, row) for row in range(n)]
    for row, expected in enumerate(us):
        assert u.u[row, : len(expected)].tolist() == pytest.approx(expected, abs=1e-9)
        assert not u.u[row, len(expected) :].any()
    for objective in (SubTB(lam), SubTB(lam, False), *OBJECTIVES[-4:], *BOUNDED, *PENALIZED):
        loss = float(objective(u, torch.tensor(group)))
        assert loss == pytest.approx(naive_loss(objective, us, group), rel=1e-6, abs=1e-6)
        _, grads = gradients(objective, paths, reward, torch.tensor(group))
        assert all(bool(grad.isfinite().all()) for grad in grads)


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


def test_vargrad_is_centred_within_each_fact():
    """A constant on log R of one fact is its Z; across facts it must not be learned from."""
    paths, reward = random_case(3, [2, 3, 1, 4])
    shift = torch.tensor([0.0, 0.0, 9.0, 9.0])
    moved = TerminalReward(reward.log_reward + shift)
    for group, same in ((torch.tensor([0, 0, 1, 1]), True), (torch.tensor([0, 0, 0, 0]), False)):
        loss, grads = gradients(VarGrad(), paths, reward, group)
        loss_moved, grads_moved = gradients(VarGrad(), paths, moved, group)
        assert (loss_moved == pytest.approx(loss, rel=1e-4)) is same
        assert torch.allclose(grads[0], grads_moved[0], atol=1e-4) is same


@pytest.mark.defect(1)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_one_log_reward_reaches_loss_and_gradient(objective: Objective):
    """Each log R changes the loss on its own path; in the old design the reward canceled out."""
    paths, reward = random_case(4, [3, 1, 5])
    group = torch.tensor([0, 0, 0])
    loss, grads = gradients(objective, paths, reward, group)
    for row in range(3):
        other = reward.log_reward.clone()
        other[row] += 1.0
        loss_other, grads_other = gradients(objective, paths, TerminalReward(other), group)
        assert abs(loss_other - loss) > 1e-3
        # In detailed balance only the last step, P(stop | s_L) and F(s_L), touches the reward.
        felt = max(
            float((new - old)[row].nan_to_num().abs().max())
            for new, old in zip(grads_other, grads, strict=True)
        )
        assert felt > 1e-2


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


def old_loss(paths: PathLogProbs, log_reward: Tensor) -> Tensor:
    """Compute the loss of the old design: modified SubTB with one log R expanded over all prefixes.

    With F(s_t) = R(s_t⊤) / P_F(stop | s_t) the residual of (i, j) is log R_i − log P(stop|s_i) +
    Σ_{i≤k<j} log P_F − log R_j + log P(stop|s_j), and log R_i = log R_j.
    """
    expanded = log_reward[:, None].expand_as(paths.log_pterm)
    flow = expanded - paths.log_pterm
    t = paths.log_pf.shape[1]
    total = torch.zeros(())
    for i in range(t + 1):
        for j in range(i + 1, t + 1):
            total = total + (flow[:, i] + paths.log_pf[:, i:j].sum(1) - flow[:, j]).square().mean()
    return total


@pytest.mark.defect(1)
def test_the_reward_does_not_cancel_out_of_the_gradient():
    """A reward of +100 or −100 changed nothing in the old gradient, and changes ours."""
    g = torch.Generator().manual_seed(0)
    log_pf, log_pterm = -torch.rand(3, 4, generator=g), -torch.rand(3, 5, generator=g)
    paths = PathLogProbs(log_pf, log_pterm, torch.zeros(3, 5), torch.tensor([4, 4, 4]))

    def gradient_of(loss_of, log_reward: list[float]) -> Tensor:
        fresh, parts = leaves(paths)
        return torch.autograd.grad(loss_of(fresh, torch.tensor(log_reward)), parts[0])[0]

    ours = lambda p, r: SubTB()(potentials(p, TerminalReward(r)), torch.tensor([0, 0, 0]))  # noqa: E731
    good, bad = [100.0, 0.0, -100.0], [-100.0, 50.0, 100.0]
    torch.testing.assert_close(
        gradient_of(old_loss, good), gradient_of(old_loss, bad), atol=1e-3, rtol=0
    )
    assert (gradient_of(ours, good) - gradient_of(ours, bad)).abs().max() > 10


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


@pytest.mark.parametrize("objective", OBJECTIVES + BOUNDED + PENALIZED, ids=str)
def test_gradients_stay_finite_with_stops_of_mass_zero(objective: Objective):
    """log P(stop) = -inf before the minimum length, log R ≈ −80 after a −50 penalty, R = 0."""
    paths, _ = random_case(6, [4, 6, 5])
    reward = TerminalReward(torch.tensor([-80.0, -math.inf, -12.0]))
    loss, grads = gradients(objective, paths, reward, torch.tensor([0, 0, 0]))
    assert math.isfinite(loss)
    assert all(bool(g.isfinite().all()) for g in grads)


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


def test_routing_the_level_changes_no_value_and_no_flow_gradient():
    """SubTB splits off the cost of a wrong log Z(f).

    By the envelope theorem the flows get the gradient of the plain loss.
    """
    paths, reward = random_case(11, [3, 1, 5, 2])
    group = torch.tensor([0, 1, 0, 1])
    for lam in LAMBDAS:
        plain, plain_grads = gradients(SubTB(lam, route_level=False), paths, reward, group)
        routed, routed_grads = gradients(SubTB(lam), paths, reward, group)
        assert routed == pytest.approx(plain, rel=1e-5)
        torch.testing.assert_close(routed_grads[2], plain_grads[2], atol=1e-4, rtol=1e-4)


def test_a_log_z_that_is_still_wrong_does_not_push_the_policy():
    """All flows of a fact are off by a constant: the flows get a gradient, P_F and P(stop) none."""
    paths, reward = random_case(12, [3, 1, 5, 2])
    group = torch.tensor([0, 1, 0, 1])
    off = torch.tensor([30.0, -20.0])[group][:, None] * torch.ones_like(paths.log_flow)
    loss, grads = gradients(SubTB(0.9), paths, reward, group)
    loss_off, grads_off = gradients(
        SubTB(0.9), dataclasses.replace(paths, log_flow=paths.log_flow + off), reward, group
    )
    assert loss_off > loss + 10
    for grad, grad_off in zip(grads[:2], grads_off[:2], strict=True):
        torch.testing.assert_close(grad, grad_off, atol=1e-3, rtol=1e-3)
    assert (grads[2] - grads_off[2]).abs().max() > 1
