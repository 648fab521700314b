"""The study of targets: log R by hand, and that an exact sampler of the prior is the prior."""

from __future__ import annotations

import numpy as np
import pytest

from studies.targets import Drawn, Target, table
from support.records import record

HAMLET = [
    record(
        question=question,
        log_p_question=log_p,
        log_contradiction=-0.5,
        log_entailment=-1.0,
        log_p_answer=-2.0,
        log_reward=log_p,
        log_pf=log_p,
        log_inclusion=0.0,
    )
    for question, log_p in (
        ("Who wrote Hamlet?", np.log(0.5)),
        ("Who is the author of Hamlet?", np.log(0.3)),
        ("Did Shakespeare write Hamlet?", np.log(0.2)),  # names the answer: unsound
    )
]


def test_log_r_is_that_of_the_formula() -> None:
    target = Target(2, 3, prior=0.5, ceiling=-1.0, answer=0.25, penalty=-4)
    expected = [-0.5 - 1 - 3 - 0.5, 0.5 * np.log(0.3) - 4.5, 0.5 * np.log(0.2) - 4.5 - 4]
    assert Drawn.of(HAMLET).log_reward(target) == pytest.approx(expected)
    assert str(target) == "min(P_Q, e^-1)^0.5 · C^2 · E^3 · P_A^0.25, penalty -4"


def test_the_prior_itself_has_no_variance() -> None:
    """All questions are drawn: an exact sampler has the prior's probabilities."""
    prior = Target(0, 0, penalty=0)
    drawn = Drawn.of(HAMLET)
    assert drawn.to(prior).p == pytest.approx([0.5, 0.3, 0.2])
    assert drawn.variance(prior) == pytest.approx(0)
    penalized = Target(0, 0, penalty=-6)
    assert drawn.variance(penalized) == pytest.approx(0.2 * 0.8 * 36)


def test_targets_are_compared_on_facts_whose_weights_suffice() -> None:
    lines = table([Drawn.of(HAMLET)], at_least=10).splitlines()
    assert all(line.split(" | ")[1] == "1" for line in lines[2:])
