"""log R at hand-derived numbers, for every kind, on both sides of every boundary."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import msgspec
import pytest

from contraflow.errors import UserError
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.settings import RewardConfig
from contraflow.types import ScoredQuestion


def scored(
    log_c: float, log_p_a: float = -5.0, *, ok: bool = True, prior: tuple[float, ...] = (-4.0, -6.0)
):
    return ScoredQuestion(
        fact_id="f7",
        question_ids=tuple(range(len(prior) - 1)),
        question="Who wrote Hamlet?",
        answer="Bacon",
        log_contradiction=log_c,
        log_p_answer=log_p_a,
        log_prior=prior,
        question_ok=ok,
    )


def log_r(schedule: RewardSchedule, one: ScoredQuestion, step: int) -> float:
    return schedule(RewardParts.of([one]), step).log_reward.item()


def test_the_names_and_numbers_of_the_design_are_the_defaults():
    """Section 3 of the design, in the config and in the schedule, which is the same object."""
    designed = {
        "penalized_reward_end_step": 150,
        "failure_penalty": -50.0,
        "contradiction_threshold": -6.0,
        "likelihood_weight": 1.0,
        "answer_quality_threshold": -20.0,
    }
    defaults = asdict(RewardSchedule())
    assert {key: defaults[key] for key in designed} == designed
    assert defaults["answer_failure_penalty"] < 0
    assert defaults == asdict(RewardConfig())


def test_parts_are_stacked_raw():
    parts = RewardParts.of([scored(-1.0), scored(-2.0, -30.0, ok=False, prior=(-1.0, -2.0, -0.5))])
    assert parts.log_contradiction.tolist() == [-1.0, -2.0]
    assert parts.log_p_question.tolist() == [-10.0, -3.5]
    assert parts.log_p_answer.tolist() == [-5.0, -30.0]
    assert parts.question_ok.tolist() == [True, False]


@pytest.mark.parametrize(
    ("log_c", "log_p_a", "expected"),
    [
        (-1.0, -5.0, -10.0),  # contradicts: log P_Q = -4 - 6
        (-7.0, -5.0, -60.0),  # does not: -10 - 50
        (-6.0, -5.0, -60.0),  # exactly at the threshold counts as failed (<=)
        (-5.9, -5.0, -10.0),
        (-1.0, -20.0, -10.0),  # exactly at the answer threshold is good enough (<)
        (-1.0, -20.5, -20.0),  # poor answer: -10 - 10
        (-9.0, -20.5, -70.0),  # both penalties: -10 - 50 - 10
    ],
)
def test_penalized_phase(log_c: float, log_p_a: float, expected: float):
    for schedule, step in ((RewardSchedule(kind="penalized"), 10_000), (RewardSchedule(), 149)):
        assert log_r(schedule, scored(log_c, log_p_a), step) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ((-1.0, -0.5), -3.0),  # log P_Q = -1.5, above the ceiling: -1 + 0.5·(-4)
        ((-3.0, -1.0), -3.0),  # exactly at it
        ((-4.0, -6.0), -6.0),  # below it: -1 + 0.5·(-10)
    ],
)
def test_the_likelihood_of_a_question_is_capped_at_the_ceiling(prior, expected: float):
    static = RewardSchedule(kind="static", likelihood_weight=0.5, likelihood_ceiling=-4.0)
    assert log_r(static, scored(-1.0, prior=prior), 0) == pytest.approx(expected)
    penalized = replace(static, kind="penalized", penalized_reward_end_step=10)
    assert log_r(penalized, scored(-1.0, prior=prior), 0) == pytest.approx(min(sum(prior), -4.0))
    assert static.priority(RewardParts.of([scored(-1.0, prior=prior)])).item() == pytest.approx(
        expected
    )


def test_a_ceiling_above_zero_is_refused():
    with pytest.raises(UserError, match=r"reward.likelihood_ceiling=1.0: must be at most 0"):
        RewardConfig(likelihood_ceiling=1.0)


@pytest.mark.parametrize(
    ("log_c", "log_p_a", "expected"),
    [
        (-1.0, -5.0, -8.5),  # -1 + 0.5·(-10) + 0.5·(-5)
        (-7.0, -5.0, -14.5),  # -7 - 5 - 2.5: no cliff at the contradiction threshold
        (-1.0, -20.0, -16.0),  # -1 - 5 - 10
        (-1.0, -22.0, -27.0),  # -1 - 5 - 11 - 10
    ],
)
def test_composite_phase(log_c: float, log_p_a: float, expected: float):
    weights = {"likelihood_weight": 0.5, "answer_quality_weight": 0.5}
    for schedule, step in (
        (RewardSchedule(kind="static", **weights), 0),
        (RewardSchedule(kind="hybrid", **weights), 150),
    ):
        assert log_r(schedule, scored(log_c, log_p_a), step) == pytest.approx(expected)


def test_entailment_counts_in_the_composite_phase_alone():
    """log C = -1, log P_Q = -10, log E = -3: -1 - 10 + 0.5·(-3) = -12.5.

    Twice that at T = 1/2; penalized -10.
    """
    entailed = msgspec.structs.replace(scored(-1.0), log_entailment=-3.0)
    composite = RewardSchedule(kind="static", entailment_weight=0.5)
    assert log_r(composite, entailed, 0) == pytest.approx(-12.5)
    assert log_r(replace(composite, reward_temp_end=0.5), entailed, 0) == pytest.approx(-25.0)
    assert composite.priority(RewardParts.of([entailed])).item() == pytest.approx(-12.5)
    assert log_r(replace(composite, kind="penalized"), entailed, 0) == pytest.approx(-10.0)
    assert log_r(RewardSchedule(kind="static"), entailed, 0) == pytest.approx(-11.0), (
        "off unless asked for"
    )


def test_hybrid_changes_phase_between_step_149_and_150():
    """log C = -2, log P_Q = -10: penalized -10 (it contradicts), composite -2 - 10 = -12."""
    schedule = RewardSchedule()
    assert [log_r(schedule, scored(-2.0), step) for step in (0, 149, 150, 151)] == [
        -10,
        -10,
        -12,
        -12,
    ]


def test_failed_text_checks_are_penalized_in_both_phases():
    """-10 - 5 while penalized, -2 - 10 - 5 after."""
    schedule = RewardSchedule(question_failure_penalty=-5.0)
    assert log_r(schedule, scored(-2.0, ok=False), 0) == pytest.approx(-15.0)
    assert log_r(schedule, scored(-2.0, ok=False), 150) == pytest.approx(-17.0)
    assert log_r(schedule, scored(-2.0, ok=True), 150) == pytest.approx(-12.0)


def test_temperature_divides_all_of_it_along_its_schedule():
    """From 4 to 2 over 100 steps: 4 at 0, 3 at 50, 2 from 100. log R untempered = -2 - 10 = -12."""
    schedule = RewardSchedule(
        kind="static", reward_temp_start=4.0, reward_temp_end=2.0, reward_temp_horizon=100
    )
    temperatures = {0: 4.0, 50: 3.0, 99: 2.02, 100: 2.0, 5000: 2.0}
    for step, temperature in temperatures.items():
        assert schedule.temperature(step) == pytest.approx(temperature)
        assert log_r(schedule, scored(-2.0), step) == pytest.approx(-12.0 / temperature)


def test_penalties_are_tempered_too():
    """Composite -2 - 10, poor answer -10, at temperature 2: -22 / 2."""
    schedule = RewardSchedule(kind="static", reward_temp_end=2.0)
    assert log_r(schedule, scored(-2.0, -21.0), 0) == pytest.approx(-11.0)


def test_prior_weight_is_the_slope_of_log_r_in_log_p_q():
    """The share of the prior in a forward-looking flow, by finite differences in each phase."""
    schedule = RewardSchedule(
        likelihood_weight=0.25, reward_temp_start=2.0, reward_temp_end=4.0, reward_temp_horizon=200
    )
    for step in (0, 100, 149, 150, 400):
        low, high = (log_r(schedule, scored(-2.0, prior=(-4.0, x)), step) for x in (-6.0, -5.0))
        assert high - low == pytest.approx(schedule.prior_weight(step), abs=1e-6)


@pytest.mark.defect(6)
def test_priority_does_not_depend_on_phase_or_temperature():
    """It is the composite reward: -7 - 10 = -17.

    The old design ranked entries by rewards of different phases and temperatures.
    """
    parts = RewardParts.of([scored(-7.0)])
    base = RewardSchedule()
    others = [
        replace(
            base, kind=kind, reward_temp_start=start, reward_temp_end=end, reward_temp_horizon=50
        )
        for kind in ("static", "penalized", "hybrid")
        for start, end in ((1.0, 1.0), (5.0, 0.5))
    ]
    assert [s.priority(parts).item() for s in others] == [pytest.approx(-17.0)] * 6


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["log_contradiction", "log_p_answer", "log_p_question"])
def test_a_part_that_is_no_number_stops_with_fact_and_question(part: str, bad: float):
    good = scored(-1.0)
    broken = {
        "log_contradiction": scored(bad),
        "log_p_answer": scored(-1.0, bad),
        "log_p_question": scored(-1.0, prior=(bad, -1.0)),
    }[part]
    with pytest.raises(UserError) as caught:
        RewardParts.of([good, broken])
    message = str(caught.value)
    assert f"{part} is {bad} for fact f7, question 'Who wrote Hamlet?'" in message
    assert len(message.splitlines()) == 1
