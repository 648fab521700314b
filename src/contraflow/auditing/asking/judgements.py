"""The judge's word beside the verdicts. It decides nothing: it softens the search and is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from contraflow.auditing.asking.evidence import Evidence
from contraflow.auditing.outcome.rows import Row
from contraflow.facts import Fact
from contraflow.facts.edit import Edit
from contraflow.reward.judge.scores import Judge


def with_judgements(evidence: Evidence, judge: Judge, edits: Sequence[Edit]) -> Evidence:
    """Score every answer of the edited model against the edit fact and the original one."""
    rows = list(evidence.rows)
    if not rows:
        return evidence
    originals = {edit.fact.key: edit.fact.original_fact for edit in edits}
    answers = [row.post_answer for row in rows]
    contradiction = judge.score([row.edit_fact for row in rows], answers).log_contradiction
    entailment = entailments(judge, [originals[row.fact_key] for row in rows], answers)
    scored = [
        msgspec.structs.replace(row, log_contradiction=c, log_entailment=e)
        for row, c, e in zip(rows, contradiction.tolist(), entailment, strict=True)
    ]
    return replace(evidence, rows=scored)


def entailments(
    judge: Judge, originals: Sequence[str], answers: Sequence[str]
) -> list[float | None]:
    """log E of each answer by its original fact; None for facts without one."""
    known = [i for i, original in enumerate(originals) if original]
    found: list[float | None] = [None] * len(originals)
    if known:
        scores = judge.score([originals[i] for i in known], [answers[i] for i in known])
        for i, value in zip(known, scores.log_entailment.tolist(), strict=True):
            found[i] = value
    return found


def judged_rows(rows: Sequence[Row], judge: Judge, fact: Fact) -> list[tuple[float, float]]:
    """(log E, log C) of the edited model's answers about one fact; log E is log 0.5 without one."""
    answers = [row.post_answer for row in rows]
    log_c = judge.score([fact.edit_fact] * len(rows), answers).log_contradiction.tolist()
    log_e = entailments(judge, [fact.original_fact] * len(rows), answers)
    return [(-0.693 if e is None else e, c) for e, c in zip(log_e, log_c, strict=True)]
