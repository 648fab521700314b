"""A small table on the screen: what the sampler asked before training, and what it asks now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from contraflow.evaluation.records import QuestionRecord, read_records
from contraflow.evaluation.verdicts import verdict_of
from contraflow.experience.stream import StepFacts
from contraflow.facts import Fact
from contraflow.system.progress import print_plain

N_FACTS = 3
N_QUESTIONS = 2
_WIDTH = 56  # characters of a question, and of an answer


class QuestionsNow(Callback):
    """Prints questions about held-out facts, with answers, after `first`, 2 `first`, 4 `first`, …

    Args:
        before: the questions of the untrained sampler (`evaluation/before_questions.jsonl`); a
            file that does not exist leaves that part of the table out.
        ask: returns `N_QUESTIONS` questions for each of the facts, adjacent, at a step.
    """

    def __init__(
        self,
        facts: Sequence[Fact],
        before: Path,
        first: int,
        ask: Callable[[Sequence[Fact], int], list[QuestionRecord]],
    ) -> None:
        self.facts = facts[:N_FACTS]
        self.before = before
        self.first = first
        self.ask = ask

    def on_train_batch_end(
        self,
        _trainer: L.Trainer,
        _module: L.LightningModule,
        _outputs: Any,
        item: StepFacts,
        _index: int,
    ) -> None:
        done = item.step + 1
        if self.facts and _doubles(done, self.first):
            earlier = read_records(self.before) if self.before.is_file() else []
            print_plain(table(self.facts, earlier, self.ask(self.facts, done), done))


def _doubles(step: int, first: int) -> bool:
    """Whether step is first, 2 first, 4 first, …"""
    times, rest = divmod(step, first)
    return rest == 0 and times.bit_count() == 1


def table(
    facts: Sequence[Fact],
    before: Sequence[QuestionRecord],
    now: Sequence[QuestionRecord],
    step: int,
) -> str:
    """Return the lines of the table; a mark says which answers pass the strict test."""
    lines = [f"held-out facts after {step} steps (* passes the strict test):"]
    for fact in facts:
        lines.append(f"  {fact.edit_fact}")
        for name, records in (("before", before), ("now", now)):
            about = [r for r in records if r.fact_id == fact.fact_id][:N_QUESTIONS]
            lines += [f"    {name:<7}{_row(record)}" for record in about]
    return "\n".join(lines)


def _row(record: QuestionRecord) -> str:
    mark = "*" if verdict_of(record).strict_success else " "
    return f"{mark} {_short(record.question):<{_WIDTH}} {_short(record.answer)}"


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
