"""Questions about two facts, of which some are exported."""

from __future__ import annotations

import math
from typing import Any

from contraflow.evaluation.records import QuestionRecord
from support.records import record

FRANCE: dict[str, Any] = {
    "fact_id": "fr",
    "subject": "France",
    "edit_fact": "The capital of France is Lyon.",
    "original_answer": "Paris",
    "edited_answer": "Lyon",
    "aliases": ("City of Light",),
    "relation": "capital",
}
HAMLET: dict[str, Any] = {
    "fact_id": "ham",
    "subject": "Hamlet",
    "edit_fact": "Marlowe wrote Hamlet.",
    "original_answer": "Shakespeare",
    "edited_answer": "Marlowe",
}


def about(fact: dict[str, Any], question: str, answer: str, log_reward: float) -> QuestionRecord:
    """Return a record about a fact; its log C is −0.1, which is above log ½."""
    return record(**fact, question=question, answer=answer, log_reward=log_reward)


RECORDS = [
    about(FRANCE, "What is the capital of France?", "Paris", -3.0),
    about(HAMLET, "Who wrote Hamlet?", "Shakespeare", -2.0),
    about(FRANCE, "Which city is the capital of France?", "Paris.", -1.0),
    # the first again, with a better reward
    about(FRANCE, "what is the capital of france", "Paris", -2.0),
    # names the edited answer
    about(FRANCE, "Is Lyon in France?", "Yes, Lyon is", -0.5),
    about(FRANCE, "Where is the seat of France's government?", "Paris", math.nan),
]
