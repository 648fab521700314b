"""Which questions are kept when more were sampled than wanted."""

from __future__ import annotations

from collections.abc import Iterable

from contraflow.evaluation.records import QuestionRecord
from contraflow.export.selection import Selection, best_of_each_fact, select
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


def test_facts_of_two_files_with_one_fact_id_are_not_merged():
    """Files of questions are concatenated; both files of facts were numbered from 1."""
    hamlet = record("1", "Who wrote Hamlet?", log_reward=-1.0)
    france = record(
        "1", "Which city?", log_reward=-9.0, subject="France", edit_fact="Lyon is its capital."
    )
    for records in ([hamlet, france], [hamlet, france, hamlet]):
        assert set(_questions(best_of_each_fact(records, 1))) == {
            "Who wrote Hamlet?",
            "Which city?",
        }
        chosen = select(records, Selection(per_fact=1))
        assert _questions(c.record for c in chosen) == ["Who wrote Hamlet?", "Which city?"]


def _questions(records: Iterable[QuestionRecord]) -> list[str]:
    return [one.question for one in records]


def test_a_fact_with_too_few_questions_gives_all_it_has():
    assert len(list(best_of_each_fact([record("a", "who?", log_reward=0.0)], 5))) == 1
