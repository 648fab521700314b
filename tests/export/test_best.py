"""Which questions are kept when more were sampled than wanted."""

from __future__ import annotations

from contraflow.export.selection import best_of_each_fact
from support.records import record


def test_keeps_the_best_different_questions_of_each_fact():
    records = [
        record("a", "who?", log_reward=-3.0),
        record("a", "what?", log_reward=-1.0, answer="first"),
        record("a", "what?", log_reward=-1.0, answer="again"),
        record("a", "when?", log_reward=-2.0),
        record("b", "why?", log_reward=-9.0),
    ]
    assert list(best_of_each_fact(records, 2)) == [records[1], records[3], records[4]]


def test_a_fact_with_too_few_questions_gives_all_it_has():
    assert len(list(best_of_each_fact([record("a", "who?", log_reward=0.0)], 5))) == 1
