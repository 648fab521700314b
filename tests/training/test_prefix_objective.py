"""Modified SubTB: a reward for every prefix, no flow head. By hand, by loops, and refusals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from contraflow.gflownet.objectives import ModifiedSubTB, prefix_potentials
from contraflow.gflownet.penalties import Linex, ShiftedCosh, Square
from contraflow.types import PathLogProbs, PrefixReward, TerminalReward
from support.objectives import LAMBDAS, doubled, naive_modified


def prefix_case(seed: int, lengths: list[int], min_len: int) -> tuple[PathLogProbs, Tensor]:
    """Return random paths that may stop from min_len on, all at least that long."""
    g = torch.Generator().manual_seed(seed)
    b, t = len(lengths), max(lengths)
    ends = torch.tensor(lengths)
    steps = torch.arange(t + 1)
    log_pf = -3 * torch.rand(b, t, generator=g) * (steps[:t] < ends[:, None])
    log_pterm = -3 * torch.rand(b, t + 1, generator=g) * (steps <= ends[:, None])
    log_pterm[:, :min_len] = -math.inf
    paths = PathLogProbs(log_pf, log_pterm, torch.zeros(b, t + 1), ends)
    return paths, 6 * torch.randn(b, t + 1, generator=g)


def loss_and_gradients(
    objective: ModifiedSubTB, paths: PathLogProbs, log_reward: Tensor, group: Tensor
) -> tuple[float, list[Tensor]]:
    parts = [paths.log_pf.clone().requires_grad_(), paths.log_pterm.clone().requires_grad_()]
    u = prefix_potentials(
        PathLogProbs(*parts, paths.log_flow, paths.lengths), PrefixReward(log_reward)
    )
    loss = objective(u, group)
    return loss.item(), list(torch.autograd.grad(loss, parts))


def test_by_hand():
    """Two tokens, log P_F -1 and -2; stop forbidden at s_0, then -0.5 and -0.25; log R -4 and -7
    (s_0: ignored).

    u_1 = -4 + 0.5 + 1 = -2.5; u_2 = -7 + 0.25 + 3 = -3.75. One pair, so the loss is 1.25² = 1.5625.
    A second question of the fact that ends after its first token, log P_F -3, stop -1, log R -2:
    u_1 = -2 + 1 + 3 = 2 and no pair. First u of both: -2.5 and 2, mean -0.25, variance 2.25² =
    5.0625. Mean of the pairs' losses (1.5625 + 0) / 2 = 0.78125; together 5.84375.
    """
    paths = PathLogProbs(
        torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]),
        torch.tensor([[-math.inf, -0.5, -0.25], [-math.inf, -1.0, 0.0]]),
        torch.zeros(2, 3),
        torch.tensor([2, 1]),
    )
    reward = PrefixReward(torch.tensor([[99.0, -4.0, -7.0], [99.0, -2.0, 99.0]]))
    u = prefix_potentials(paths, reward)
    assert u.u.tolist() == [[0.0, -2.5, -3.75], [0.0, 2.0, 0.0]]
    assert u.mask.tolist() == [[False, True, True], [False, True, False]]
    assert u.terminal.tolist() == [-3.75, 2.0]
    assert float(ModifiedSubTB()(u, torch.tensor([0, 0]))) == pytest.approx(5.84375)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    min_len=st.integers(0, 3),
    more=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    lam=st.sampled_from(LAMBDAS),
    penalty=st.sampled_from([Square(), Square(2.0), Linex(4.0), ShiftedCosh(2.0)]),
    data=st.data(),
)
def test_equals_its_naive_loop(seed, min_len, more, lam, penalty, data):
    lengths = [max(1, min_len + n) for n in more]
    group = data.draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    paths, log_reward = prefix_case(seed, lengths, min_len)
    paths, log_reward = doubled(paths), log_reward.double()
    objective = ModifiedSubTB(lam, penalty)
    loss = float(objective(prefix_potentials(paths, PrefixReward(log_reward)), torch.tensor(group)))
    assert loss == pytest.approx(
        naive_modified(objective, paths, log_reward, group), rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize("min_len", [0, 2])
def test_nothing_moves_at_the_exact_solution(min_len: int):
    """log R_t = log Z(f) + Σ log P_F + log P(stop | s_t) at every prefix that may stop.

    There loss and gradients are 0.
    """
    paths, _ = prefix_case(3, [3, 5, 2, 4], min_len)
    group = torch.tensor([0, 1, 0, 1])
    level = torch.tensor([4.0, -9.0])[group][:, None]
    so_far = torch.cat([torch.zeros(4, 1), paths.log_pf], 1).cumsum(1)
    log_reward = (level + so_far + paths.log_pterm).nan_to_num(neginf=55.0)
    loss, grads = loss_and_gradients(ModifiedSubTB(0.9), paths, log_reward, group)
    assert loss == pytest.approx(0.0, abs=1e-8)
    for grad in grads:
        torch.testing.assert_close(grad, torch.zeros_like(grad), atol=1e-5, rtol=0)


def test_the_loss_depends_on_prefixes_that_may_stop_alone():
    """Each prefix has another reward, which does not cancel as in the old design."""
    paths, log_reward = prefix_case(8, [4, 3], 2)
    group = torch.tensor([0, 0])
    loss, grads = loss_and_gradients(ModifiedSubTB(), paths, log_reward, group)
    for row, length in enumerate([4, 3]):
        for t in range(5):
            other = log_reward.clone()
            other[row, t] += 1.0
            loss_other, grads_other = loss_and_gradients(ModifiedSubTB(), paths, other, group)
            felt = (
                abs(loss_other - loss) > 1e-3
                and float((grads_other[1] - grads[1]).abs().max()) > 1e-2
            )
            assert felt is (2 <= t <= length)


def test_tokens_below_the_minimum_length_learn_too():
    """Their prefixes have no reward, so no pair reaches them; the spread of the first u does."""
    paths, log_reward = prefix_case(9, [4, 3, 5], 2)
    _, grads = loss_and_gradients(ModifiedSubTB(), paths, log_reward, torch.tensor([0, 0, 0]))
    assert bool((grads[0][:, :2].abs() > 1e-3).all())


def test_without_a_minimum_length_the_second_term_is_zero():
    paths, log_reward = prefix_case(10, [4, 3, 5], 0)
    paths.log_pterm[:, 0], log_reward[:, 0] = -0.7, -3.0  # s_0 is one state
    u = prefix_potentials(paths, PrefixReward(log_reward))
    together, apart = (ModifiedSubTB()(u, torch.tensor(g)) for g in ([0, 0, 0], [0, 1, 2]))
    assert float(together) == pytest.approx(float(apart), rel=1e-6)


def test_zero_rewards_and_forbidden_stops_give_finite_gradients():
    paths, log_reward = prefix_case(11, [4, 6, 5], 2)
    log_reward[0, 3] = log_reward[2, 5] = -math.inf
    loss, grads = loss_and_gradients(ModifiedSubTB(), paths, log_reward, torch.tensor([0, 0, 0]))
    assert math.isfinite(loss) and all(bool(g.isfinite().all()) for g in grads)


def test_a_reward_per_question_is_refused():
    """The old design expanded it over the prefixes; here that takes intent."""
    paths, _ = prefix_case(0, [2, 3], 1)
    with pytest.raises(TypeError, match="PrefixReward, got TerminalReward"):
        prefix_potentials(paths, TerminalReward(torch.zeros(2)))  # type: ignore[arg-type]
    for shape in ((2,), (2, 1), (2, 3), (1, 4)):
        with pytest.raises(ValueError, match="log_reward has shape"):
            prefix_potentials(paths, PrefixReward(torch.zeros(shape)))


def test_a_path_that_may_never_stop_is_refused():
    paths, log_reward = prefix_case(0, [2, 3], 1)
    paths.log_pterm[1] = -math.inf
    with pytest.raises(ValueError, match="no prefix at which stop is an action"):
        prefix_potentials(paths, PrefixReward(log_reward))
