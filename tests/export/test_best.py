"""What is kept when more is drawn than wanted."""

from __future__ import annotations

from contraflow.evaluation.records import QuestionRecord
from contraflow.export.selection import best_of_each_fact


def record(fact_id: str, question: str, log_reward: float, answer: str = "") -> QuestionRecord:
    return QuestionRecord(
        fact_id=fact_id,
        subject="s",
        edit_fact="e",
        question=question,
        answer=answer,
        log_contradiction=0.0,
        log_p_question=0.0,
        log_p_answer=0.0,
        log_reward=log_reward,
        log_pf=0.0,
    )


def test_keeps_the_best_different_questions_of_each_fact_in_order():
    drawn = [
        record("a", "who?", -3.0),
        record("a", "what?", -1.0, "first"),
        record("a", "what?", -1.0, "again"),
        record("a", "when?", -2.0),
        record("b", "why?", -9.0),
    ]
    kept = list(best_of_each_fact(drawn, 2))
    assert [(r.fact_id, r.question, r.answer) for r in kept] == [
        ("a", "what?", "first"),
        ("a", "when?", ""),
        ("b", "why?", ""),
    ]


def test_a_fact_with_fewer_questions_than_wanted_gives_all_it_has():
    assert len(list(best_of_each_fact([record("a", "who?", 0.0)], 5))) == 1
