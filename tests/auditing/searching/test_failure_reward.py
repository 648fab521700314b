"""The reward of adapting, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from contraflow.auditing.searching.failure_reward import (
    FailureReward,
    Judged,
    Tried,
    ceiling_of,
    closeness,
    effective_number,
    log_rewards,
)

FAILS = Judged(sound=True, fails=True, closeness=1.0)
BY_HAND = FailureReward(n_effective=9, lowest_ceiling=-8.0, crowding=0.5, floor=-6.0)


@pytest.mark.parametrize(
    ("judged", "log_mix", "expected"),
    [
        (FAILS, -20.0, -20),
        (FAILS, -3.0, -8),
        (Judged(sound=True, fails=False, closeness=0.0), -20.0, -20 - 6),
        (Judged(sound=True, fails=False, closeness=1.0), -20.0, -20 - 3),
        (Judged(sound=False, fails=False, closeness=1.0), -20.0, -20 - 12),
    ],
)
def test_the_reward_of_a_question(judged: Judged, log_mix: float, expected: float) -> None:
    """min(log P_mix, ceiling), with the floor where it does not fail and twice where unsound."""
    tried = [Tried(judged, log_mix, mode=0 if judged.fails else None)]
    assert log_rewards(tried, BY_HAND) == pytest.approx([expected])


def test_failures_of_one_mode_crowd_each_other() -> None:
    """Four of a mode have sqrt(4) times the reward of a lone one, together."""
    tried = [Tried(FAILS, -9.0, mode=0)] * 4 + [Tried(FAILS, -9.0, mode=1)]
    rewards = torch.tensor(log_rewards(tried, BY_HAND), dtype=torch.float64).exp()
    assert rewards[:4].sum() == pytest.approx(2 * float(rewards[4]))


def test_other_questions_do_not_crowd() -> None:
    other = Tried(Judged(sound=True, fails=False, closeness=0.0), -9.0)
    assert log_rewards([other] * 5, BY_HAND) == pytest.approx([-15.0] * 5)


@pytest.mark.parametrize(
    ("log_mix", "n_effective", "expected"),
    [
        ([-3.0, -3.0, -3.0], 3, -3.0),  # alike: nothing to cut
        ([-3.0, -9.0, -9.0], 2.9, -9.0),  # only all of them are near three
        ([-3.0, -9.0, -9.0], 1.0, -3.0),
        ([-3.0, -9.0], 3, -12.0),  # there are no three
        ([-30.0, -30.0], 2, -12.0),
        ([], 1, -12.0),
    ],
)
def test_the_ceiling_leaves_enough_failures(
    log_mix: list[float], n_effective: float, expected: float
) -> None:
    assert ceiling_of(log_mix, FailureReward(n_effective, lowest_ceiling=-12.0)) == expected


def test_the_effective_number_of_capped_questions() -> None:
    """p = 1, 1 and 1/2: (5/2)^2 / (9/4)."""
    log_mix = [0.0, -math.log(2), -2 * math.log(2)]
    assert effective_number(log_mix, -math.log(2)) == pytest.approx(25 / 9)


def test_closeness_is_the_mean_of_e_and_e_times_c() -> None:
    log_e, log_c = torch.tensor([0.5, 0.8]).log().tolist()
    assert closeness(log_e, log_c) == pytest.approx((0.5 + 0.4) / 2)
