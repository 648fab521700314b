"""Answers of an oracle to the plain questions of facts, kept between runs.

Whether an oracle knows a fact depends on the oracle with its prompt and on the fact. The first two
are in the oracle's identity, and answers are kept under it by question. What is kept is the answer
and not the verdict, so that a change of the text checks asks nothing anew.

The package has the answers of its own oracle to its own facts (`SHIPPED`,
made by ``python -m studies.plain_answers``). Those of other local oracles are in a folder of the
user, one JSONL file per oracle. Several processes may append to it at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from contraflow.errors import UserError
from contraflow.system.files import append, write_lines

SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "plain_answers.jsonl"


class PlainAnswers:
    """The known answers of one oracle, by question.

    Args:
        oracle: its identity.
        folder: where answers are kept for later runs. One that cannot be written only costs time.
    """

    def __init__(self, oracle: str, folder: Path) -> None:
        name = hashlib.sha256(oracle.encode()).hexdigest()[:16]
        self.path = folder / f"{name}.jsonl"
        self._answers = {**_shipped(oracle), **_of_rows(_rows(self.path))}

    def get(self, question: str) -> str | None:
        """The answer to a question, or None where it was never asked."""
        return self._answers.get(question)

    def add(self, answers: Mapping[str, str]) -> None:
        """Remember new answers, by question, here and in the file."""
        self._answers |= answers
        rows = ({"question": q, "answer": a} for q, a in answers.items())
        lines = b"".join(_line(row) for row in rows)
        # One call of write: lines of processes that append at the same time do not mix.
        with suppress(OSError, UserError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            append(self.path, lines)


def write_shipped(oracle: str, answers: Iterable[tuple[str, str]], path: Path = SHIPPED) -> int:
    """Write the answers that come with the package; returns their number.

    The first line names the oracle, each other one has a question and its answer.

    Raises: UserError if the file cannot be written.
    """
    rows = [{"question": question, "answer": answer} for question, answer in answers]
    write_lines(path, (_line(row).rstrip() for row in ({"oracle": oracle}, *rows)))
    return len(rows)


def _shipped(oracle: str) -> dict[str, str]:
    rows = _rows(SHIPPED)
    return _of_rows(rows) if next(rows, {}).get("oracle") == oracle else {}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; lines that a kill or a full disk has cut are left out."""
    with suppress(OSError):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict):
                    yield row


def _of_rows(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    pairs = ((row.get("question"), row.get("answer")) for row in rows)
    return {q: a for q, a in pairs if isinstance(q, str) and isinstance(a, str)}


def _line(row: Mapping[str, str]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"
