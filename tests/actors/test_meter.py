"""Rates by a clock that the test sets."""

from __future__ import annotations

import pytest

from contraflow.actors.meter import WINDOW_STEPS, Meter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_idle_shares_and_rates_follow_the_clock():
    """10 s, two actors: both work for 4 s, one for 2 s, none for 4 s: 10 of 20 actor seconds."""
    clock = Clock()
    meter = Meter(2, clock)
    meter.working(2)
    clock.now = 4.0
    meter.working(1)
    with meter.waiting():
        clock.now = 6.0
    meter.working(0)
    meter.scored(30)
    meter.learned(20)
    clock.now = 10.0
    rates = meter.step()
    assert rates.actors_idle == pytest.approx(0.5)
    assert rates.learner_idle == pytest.approx(0.2)
    assert rates.questions_per_second == pytest.approx(3.0)
    assert rates.learned_per_second == pytest.approx(2.0)


def test_work_that_has_not_ended_counts_as_work():
    clock = Clock()
    meter = Meter(1, clock)
    meter.working(1)
    clock.now = 5.0
    assert meter.step().actors_idle == 0.0


def test_a_step_shows_the_last_steps_and_the_end_all_of_them():
    clock = Clock()
    meter = Meter(1, clock)
    meter.scored(1000)
    for _ in range(WINDOW_STEPS + 1):
        clock.now += 1.0
        rates = meter.step()
    assert rates.questions_per_second == 0.0
    assert meter.overall().questions_per_second == pytest.approx(1000 / (WINDOW_STEPS + 1))
