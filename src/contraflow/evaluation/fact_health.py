"""The diagnostics of a run fact by fact, from evaluated questions: which facts are sampled in
proportion, which not.

The same formulas as in training (`diagnostics.py`). Of the questions only texts are kept, so the
opening is the first three words, not tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import verdict_of
from contraflow.gflownet.diagnostics import health
from contraflow.seeding import torch_rng
from contraflow.text.match import words


def fact_health(records: Sequence[QuestionRecord]) -> list[dict[str, Any]]:
    """One row a fact, in the order of the records; a diagnostic that its questions cannot tell is
    None.
    """
    by_fact: dict[str, list[QuestionRecord]] = {}
    for record in records:
        by_fact.setdefault(record.fact_id, []).append(record)
    return [_row(group) for group in by_fact.values()]


def _row(group: Sequence[QuestionRecord]) -> dict[str, Any]:
    first, n = group[0], len(group)
    strict = sum(verdict_of(record).strict_success for record in group) / n
    row: dict[str, Any] = {
        "subject": first.subject,
        "edit_fact": first.edit_fact,
        "n": n,
        "strict": strict if first.original_answer else None,
        "distinct": len({record.question for record in group}) / n,
    }
    sound = [r for r in group if math.isfinite(r.log_reward) and math.isfinite(r.log_pf)]
    return row | (_health(sound) if sound else {})


def _health(group: Sequence[QuestionRecord]) -> dict[str, float | None]:
    log_reward = torch.tensor([record.log_reward for record in group], dtype=torch.float64)
    log_pf = torch.tensor([record.log_pf for record in group], dtype=torch.float64)
    texts = [words(record.question) for record in group]
    numbers: dict[str, int] = {}
    for text in texts:
        for word in text:
            numbers.setdefault(word, len(numbers))
    lengths = torch.tensor([len(text) for text in texts])
    ids = torch.full((len(texts), max(1, int(lengths.max()))), -1)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor([numbers[word] for word in text], dtype=torch.long)
    rng = torch_rng("fact health", group[0].fact_id)
    found = health(
        log_reward, log_pf, torch.zeros(len(group), dtype=torch.long), ids, lengths, rng
    ).as_dict()
    found["var_log_ratio"] = float((log_reward - log_pf).var(correction=0))
    return {name: value if math.isfinite(value) else None for name, value in found.items()}
