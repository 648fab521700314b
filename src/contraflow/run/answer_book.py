"""Answers that have been paid for: a file, one line an answer.

An audit that was stopped asks nothing twice, and a second one in the same folder asks only what is
new; so do `contraflow evaluate` and `generate` (`run.kept`). A line names the oracle by its
identity, which is content; so an edited model never gets the answers of another one.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

import msgspec

from contraflow.system.files import write_error
from contraflow.system.kept_lines import kept_lines
from contraflow.types import Answer, Oracle

QUESTIONS_PER_BATCH = 32
QUESTIONS_PER_LOCAL_BATCH = 64  # those of a batch of `evaluation.rollout`


class _Line(msgspec.Struct, frozen=True):
    oracle: str
    question: str
    answer: str
    log_p: float | None


@runtime_checkable
class AnswersOneByOne(Protocol):
    """An oracle whose answers come one by one, and may be paid for, as those of a server."""

    def answer_each(
        self, questions: Sequence[str], on_answer: Callable[[str, Answer], None]
    ) -> None:
        """Call `on_answer` with each different question as soon as it is answered."""
        ...


class AnswerBook:
    """The answers of every oracle that was asked, in memory and in a file.

    Raises: UserError for a file that cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: dict[tuple[str, str], Answer] = {}
        remedy = "its question will be asked again"
        for line in kept_lines(path, _Line, what="an answer that was kept", remedy=remedy):
            log_p = math.nan if line.log_p is None else line.log_p
            self._answers[line.oracle, line.question] = Answer(line.answer, log_p)
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise write_error(path, error) from None

    def __enter__(self) -> AnswerBook:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._answers)

    def count(self, oracle: Oracle) -> int:
        """How many answers of this oracle there are."""
        key = _short(oracle.identity)
        return sum(of_oracle == key for of_oracle, _ in self._answers)

    def missing(self, oracle: Oracle, questions: Sequence[str]) -> list[str]:
        """The different questions that this oracle has not answered yet, in their order."""
        key = _short(oracle.identity)
        return [q for q in dict.fromkeys(questions) if (key, q) not in self._answers]

    def ask(
        self,
        oracle: Oracle,
        questions: Sequence[str],
        on_answers: Callable[[int], None] | None = None,
        batch_size: int = QUESTIONS_PER_BATCH,
    ) -> list[Answer]:
        """Answers in the order of the questions; only missing ones are asked.

        Each batch is on the disk before the next one is asked; each single answer as soon as it is
        there where the oracle gives them one by one. `on_answers` is called with the number of new
        answers.
        """
        key = _short(oracle.identity)
        tell = on_answers or _ignored

        def keep(batch: Sequence[str], answers: Sequence[Answer]) -> None:
            self._keep(key, batch, answers)
            tell(len(batch))

        new = self.missing(oracle, questions)
        for start in range(0, len(new), batch_size):
            batch = new[start : start + batch_size]
            if isinstance(oracle, AnswersOneByOne):
                oracle.answer_each(batch, lambda question, answer: keep([question], [answer]))
            else:
                keep(batch, oracle.answer(batch))
        return [self._answers[key, question] for question in questions]

    def _keep(self, key: str, questions: Sequence[str], answers: Sequence[Answer]) -> None:
        lines = []
        for question, answer in zip(questions, answers, strict=True):
            self._answers[key, question] = answer
            log_p = answer.log_p if math.isfinite(answer.log_p) else None
            lines.append(msgspec.json.encode(_Line(key, question, answer.text, log_p)) + b"\n")
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from None


class BookedOracle:
    """An oracle that is asked only what is not in its book, and whose answers go there at once.

    A server gets all questions of a call together, so that many are in flight; a local model gets
    as many as an evaluation scores at once.
    """

    def __init__(self, oracle: Oracle, book: AnswerBook) -> None:
        self.identity = oracle.identity
        self._oracle = oracle
        self._book = book

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answers in the order of the questions. Raises: whatever the oracle and the book raise."""
        one_by_one = isinstance(self._oracle, AnswersOneByOne)
        size = max(1, len(questions)) if one_by_one else QUESTIONS_PER_LOCAL_BATCH
        return self._book.ask(self._oracle, questions, batch_size=size)


def _ignored(_n: int) -> None:
    return None


def _short(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
