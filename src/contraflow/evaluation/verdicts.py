"""The results of the text checks and of the judge for one evaluated question."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from contraflow.evaluation.records import QuestionRecord
from contraflow.text.answers import is_degenerate, is_on_topic
from contraflow.text.questions import is_well_formed, leaks_answer
from contraflow.text.subjects import is_on_subject
from contraflow.text.verdict import strict_success

LOG_HALF = math.log(0.5)


@dataclass(frozen=True)
class Verdict:
    """The outcome of every check on one question; `contradiction` is the judge's."""

    strict_success: bool
    well_formed: bool
    on_subject: bool
    no_leak: bool
    on_topic: bool
    not_degenerate: bool
    contradiction: bool

    @property
    def valid_contradiction(self) -> bool:
        """Whether all hold except strict success, which is not a part of validity."""
        return all(getattr(self, field.name) for field in fields(self)[1:])


def verdict_of(record: QuestionRecord) -> Verdict:
    """Run every check on one record."""
    question = record.question
    answer = record.answer
    answers = (record.original_answer, record.edited_answer, record.aliases)
    return Verdict(
        strict_success=strict_success(question, answer, record.subject, *answers),
        well_formed=is_well_formed(question, record.subject),
        on_subject=is_on_subject(question, record.subject),
        no_leak=not leaks_answer(question, *answers, record.subject),
        on_topic=is_on_topic(question, answer, record.subject),
        not_degenerate=not is_degenerate(answer, question),
        contradiction=record.log_contradiction > LOG_HALF,
    )
