"""A data set folder that Hugging Face `datasets` loads: JSON lines and a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from contraflow.evaluation.grouping import fact_of
from contraflow.export.selection import Chosen, Selection, Written
from contraflow.export.table import row_of
from contraflow.system.files import write_atomically

ROWS = "questions.jsonl"
CARD = "README.md"
_TITLE = "# Contradictory questions"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write(folder: Path, chosen: Sequence[Chosen], selection: Selection) -> Written:
    """Write rows and card."""
    lines = [msgspec.json.encode(row_of(c)) + b"\n" for c in chosen]
    write_atomically(folder / ROWS, b"".join(lines))
    write_atomically(folder / CARD, card(chosen, selection).encode())
    return Written(len(lines))


def is_data_set(folder: Path) -> bool:
    """Whether a folder has the card of an earlier export."""
    path = folder / CARD
    return path.is_file() and _TITLE in path.read_text(encoding="utf-8", errors="replace")


def card(chosen: Sequence[Chosen], selection: Selection) -> str:
    """Return README.md with the header that the hub reads.

    It names no license, which depends on the facts.
    """
    size = next((name for limit, name in _SIZES if len(chosen) < limit), "n>1M")
    n_facts = len({fact_of(c.record) for c in chosen})
    n_strict = sum(c.verdict.strict_success for c in chosen)
    n_valid = sum(c.verdict.valid_contradiction for c in chosen)
    return f"""---
language: [en]
task_categories: [question-answering, text-generation]
size_categories: [{size}]
tags: [contraflow, knowledge-editing, gflownet]
configs:
- config_name: default
  data_files: {ROWS}
---

{_TITLE}

{len(chosen)} questions about {n_facts} facts, drawn by a contraflow sampler. Each is about an \
edit fact, which is a
counterfactual statement, and is meant to make a language model give an answer that contradicts it.

- chosen: {selection}
- strict successes (the answer names the original answer and not the edited one): {n_strict}
- valid contradictions (all checks, and the judge): {n_valid}

```python
from datasets import load_dataset

questions = load_dataset("FOLDER", split="train")
```

## Columns

| | |
|---|---|
| `fact_id`, `subject`, `relation`, `edit_fact`, `original_answer`, `edited_answer`, `aliases` \
| the fact |
| `question`, `answer` | the question drawn, and what the frozen base model answered |
| `log_contradiction`, `log_entailment` | the judge on the answer, against the edit fact and \
against the original fact |
| `log_p_question`, `log_p_answer` | log-likelihoods under the frozen base model, in nats |
| `log_reward`, `log_pf` | log R, and the log-probability with which the sampler drew the question |
| `log_inclusion` | of questions drawn without replacement, the log-probability of being drawn |
| `strict_success`, `well_formed`, `on_subject`, `no_leak`, `on_topic`, `not_degenerate`, \
`contradiction` | checks |
| `valid_contradiction` | all checks but the strict one |

Edit facts are false on purpose, and answers are what a model believes: neither is a statement of \
fact.
"""
