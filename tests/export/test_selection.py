"""Which questions are exported, and in which order; every value is worked out by hand."""

from __future__ import annotations

from typing import Any

from contraflow.export import Selection, select
from support.exported import RECORDS


def questions(**settings: Any) -> list[str]:
    return [chosen.record.question for chosen in select(RECORDS, Selection(**settings))]


def test_facts_keep_their_order_and_the_best_comes_first() -> None:
    assert questions() == [
        "Is Lyon in France?",
        "Which city is the capital of France?",
        "what is the capital of france",
        "Where is the seat of France's government?",  # a reward of NaN ranks last
        "Who wrote Hamlet?",
    ]


def test_repeats_stay_where_they_are_asked_for() -> None:
    assert questions(distinct=False).count("What is the capital of France?") == 1
    assert len(questions(distinct=False)) == len(RECORDS)


def test_checks_come_before_the_number_a_fact() -> None:
    """The best question is no strict success, so with one per fact the next best is kept."""
    assert questions(only=("strict_success",), per_fact=1) == [
        "Which city is the capital of France?",
        "Who wrote Hamlet?",
    ]
    assert questions(per_fact=2) == [
        "Is Lyon in France?",
        "Which city is the capital of France?",
        "Who wrote Hamlet?",
    ]
    # The question without a capital letter and a question mark is not well formed.
    assert questions(only=("strict_success", "well_formed"), distinct=True)[1:] == [
        "Where is the seat of France's government?",
        "Who wrote Hamlet?",
    ]
