"""Diagnostics of one fact from its evaluated questions, by hand."""

from __future__ import annotations

import math

import pytest

from contraflow.evaluation.fact_health import fact_health
from contraflow.evaluation.per_fact import QuestionTable
from support.records import record


def test_numbers_of_a_fact_by_hand():
    """w = 1, 3, 3: mean log w = 2/3 log 3; log Ẑ = log 7/3; ESS = 49 / (3 · 19); Var = 2/9 log² 3.

    Two of three questions differ; they begin "who was it" and "which playwright wrote", so the
    openings have the entropy of (2/3, 1/3).
    """
    twice = record(question="Who was it that wrote Hamlet?", log_reward=math.log(3), log_pf=0.0)
    once = record(question="Which playwright wrote Hamlet?", log_reward=0.0, log_pf=0.0)
    (row,) = fact_health([once, twice, twice])
    assert (row["n"], row["strict"], row["distinct"]) == (3, 1.0, pytest.approx(2 / 3))
    assert row["elbo"] == pytest.approx(2 / 3 * math.log(3))
    assert row["log_z_mc"] == pytest.approx(math.log(7 / 3))
    assert row["ess"] == pytest.approx(49 / 57)
    assert row["var_log_ratio"] == pytest.approx(2 / 9 * math.log(3) ** 2)
    assert row["prefix_entropy"] == pytest.approx(
        -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    )


def test_questions_differ_as_in_the_headline_metric():
    """Case and punctuation make no other question: one of four is distinct."""
    asked = ("Who wrote Hamlet?", "who wrote Hamlet?", 'Who wrote "Hamlet"?', "Who wrote Hamlet ?")
    records = [record(question=question) for question in asked]
    (row,) = fact_health(records)
    assert row["distinct"] == QuestionTable(records).statistics(None)["distinct_questions"].value
    assert row["distinct"] == 1 / 4


def test_facts_keep_their_order_and_their_questions_apart():
    rows = fact_health(
        [
            record("b", log_reward=1.0, log_pf=0.0),
            record("a", log_reward=5.0, log_pf=0.0),
            record("b", log_reward=3.0, log_pf=0.0),
        ]
    )
    assert [(row["n"], row["elbo"]) for row in rows] == [(2, 2.0), (1, 5.0)]


def test_facts_with_one_fact_id_are_kept_apart():
    """Two files numbered from 1, whose questions are in one file."""
    other = record(
        "1", subject="France", edit_fact="Lyon is its capital.", log_reward=5.0, log_pf=0
    )
    rows = fact_health([record("1", log_reward=1.0, log_pf=0.0), other])
    assert [(row["subject"], row["elbo"]) for row in rows] == [("Hamlet", 1.0), ("France", 5.0)]
    assert QuestionTable([record("1"), other, record("1")]).fact.tolist() == [0, 1, 0]


def test_what_cannot_be_computed_for_a_fact_is_none():
    (row,) = fact_health([record(log_reward=math.nan, log_pf=0.0, original_answer="")])
    assert row["strict"] is None and "elbo" not in row
    (row,) = fact_health([record(log_reward=1.0, log_pf=0.0)])
    assert row["slope"] is None and row["fcs"] is None
