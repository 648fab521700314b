"""Evaluated questions with made-up numbers."""

from __future__ import annotations

from typing import Any

from contraflow.evaluation.records import QuestionRecord


def record(
    fact_id: str = "f0", question: str = "Who wrote Hamlet?", **changes: Any
) -> QuestionRecord:
    """Return a strict success about Hamlet, but for what is given."""
    fields: dict[str, Any] = {
        "subject": "Hamlet",
        "relation": "author",
        "edit_fact": "Hamlet was written by Christopher Marlowe.",
        "original_answer": "William Shakespeare",
        "edited_answer": "Christopher Marlowe",
        "answer": "William Shakespeare",
        "log_contradiction": -0.1,
        "log_p_question": -10.0,
        "log_p_answer": -1.0,
        "log_reward": -10.1,
        "log_pf": -11.0,
    }
    return QuestionRecord(**(fields | {"fact_id": fact_id, "question": question} | changes))
