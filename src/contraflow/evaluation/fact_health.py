"""The diagnostics of each fact, from evaluated questions.

They show which facts are sampled in proportion to the reward. The formulas are those of training
(`gflownet.diagnostics`). Records have the text of a question but no token ids, so the prefix
entropy is that of the first three words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from contraflow.evaluation.diversity import distinct_share
from contraflow.evaluation.grouping import by_fact
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import verdict_of
from contraflow.gflownet.diagnostics import health
from contraflow.seeding import torch_rng
from contraflow.text.tokens import words


def fact_health(records: Sequence[QuestionRecord]) -> list[dict[str, Any]]:
    """Return one row per fact, in the order of the records; undefined diagnostics are None."""
    return [_row(group) for group in by_fact(records).values()]


def _row(group: Sequence[QuestionRecord]) -> dict[str, Any]:
    first = group[0]
    n = len(group)
    strict = sum(verdict_of(record).strict_success for record in group) / n
    row: dict[str, Any] = {
        "subject": first.subject,
        "edit_fact": first.edit_fact,
        "n": n,
        "strict": strict if first.original_answer else None,
        "distinct": distinct_share([record.question for record in group]),
    }
    finite = [r for r in group if math.isfinite(r.log_reward) and math.isfinite(r.log_pf)]
    return row | (_health(finite) if finite else {})


def _health(group: Sequence[QuestionRecord]) -> dict[str, float | None]:
    log_reward = np.array([record.log_reward for record in group])
    log_pf = np.array([record.log_pf for record in group])
    one_fact = np.zeros(len(group), dtype=np.int64)
    texts = [words(record.question) for record in group]
    rng = torch_rng("fact health", group[0].fact_id)
    found = health(log_reward, log_pf, one_fact, texts, rng).as_dict()
    found["var_log_ratio"] = float((log_reward - log_pf).var())
    return {name: value if math.isfinite(value) else None for name, value in found.items()}
