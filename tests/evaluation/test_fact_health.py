"""Diagnostics of one fact from its evaluated questions, by hand."""

from __future__ import annotations

import math

import pytest

from contraflow.evaluation.fact_health import fact_health
from contraflow.evaluation.records import QuestionRecord


def record(
    question: str, log_reward: float, log_pf: float, fact_id: str = "f", **other: str
) -> QuestionRecord:
    return QuestionRecord(
        fact_id=fact_id,
        subject="France",
        edit_fact="The capital of France is Lyon.",
        question=question,
        answer=other.get("answer", "Paris."),
        original_answer=other.get("original_answer", "Paris"),
        edited_answer="Lyon",
        log_contradiction=-0.1,
        log_p_question=log_pf,
        log_p_answer=-1.0,
        log_reward=log_reward,
        log_pf=log_pf,
    )


def test_numbers_of_a_fact_by_hand():
    """w = 1, 3, 3: mean log w = 2/3 log 3; log Ẑ = log 7/3; ESS = 49 / (3 · 19); Var = 2/9 log² 3.

    Two of three questions differ; they begin "what is the" and "which city is", so the openings
    have the entropy of (2/3, 1/3).
    """
    twice = record("What is the capital of France?", math.log(3), 0.0)
    (row,) = fact_health([record("Which city is the capital of France?", 0.0, 0.0), twice, twice])
    assert (row["n"], row["strict"], row["distinct"]) == (3, 1.0, pytest.approx(2 / 3))
    assert row["elbo"] == pytest.approx(2 / 3 * math.log(3))
    assert row["log_z_mc"] == pytest.approx(math.log(7 / 3))
    assert row["ess"] == pytest.approx(49 / 57)
    assert row["var_log_ratio"] == pytest.approx(2 / 9 * math.log(3) ** 2)
    assert row["prefix_entropy"] == pytest.approx(
        -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    )


def test_facts_keep_their_order_and_their_questions_apart():
    rows = fact_health(
        [
            record("Who?", 1.0, 0.0, "b"),
            record("Who?", 5.0, 0.0, "a"),
            record("Who?", 3.0, 0.0, "b"),
        ]
    )
    assert [(row["n"], row["elbo"]) for row in rows] == [(2, 2.0), (1, 5.0)]


def test_what_a_fact_cannot_tell_is_none_and_not_a_made_up_number():
    (row,) = fact_health([record("Who?", math.nan, 0.0, original_answer="")])
    assert row["strict"] is None and "elbo" not in row
    (row,) = fact_health([record("Who?", 1.0, 0.0)])
    assert row["slope"] is None and row["fcs"] is None
