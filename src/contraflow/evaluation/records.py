"""One evaluated question with everything a metric needs, and the JSONL file of such questions.

JSON has no non-finite numbers: they are written as null and read back as NaN. So a file with one
broken value still opens, and the report can show the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from contraflow.errors import UserError
from contraflow.system.files import write_atomically
from contraflow.system.input_file import require_file

FLOAT_FIELDS = (
    "log_contradiction",
    "log_p_question",
    "log_p_answer",
    "log_entailment",
    "log_reward",
    "log_pf",
)


class QuestionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A sampled question with its fact, its answer and its scores, all in nats."""

    fact_id: str
    subject: str
    edit_fact: str
    question: str
    answer: str
    log_contradiction: float
    log_p_question: float  # under the frozen base model, stop included
    log_p_answer: float
    log_entailment: float = 0.0  # of the original fact by the answer; 0 for facts without one
    log_reward: float
    log_pf: float  # under the sampler that produced it, at its temperature, stop included
    relation: str = ""
    original_answer: str = ""
    edited_answer: str = ""
    aliases: tuple[str, ...] = ()  # other accepted spellings of `original_answer`
    log_inclusion: float | None = None  # log-probability of being drawn; None with replacement


def write_records(path: str | Path, records: Iterable[QuestionRecord]) -> int:
    """Write one JSON object per line and return the number of lines.

    The file is renamed at the end, so no reader sees half of it.
    """
    lines = [msgspec.json.encode(record) for record in records]
    write_atomically(path, b"".join(line + b"\n" for line in lines))
    return len(lines)


def read_records(path: str | Path) -> list[QuestionRecord]:
    """Read what `write_records` wrote.

    Raises: UserError with file and line number of the first line that is not a record.
    """
    return [
        _parse(path, number, line)
        for number, line in enumerate(_lines(path), start=1)
        if line.strip()
    ]


def record_of_row(row: Any) -> QuestionRecord:
    """A record from its JSON object, in which null stands for NaN.

    Raises: msgspec.ValidationError for anything else.
    """
    if isinstance(row, dict):
        row = row | {name: math.nan for name in FLOAT_FIELDS if name in row and row[name] is None}
    return msgspec.convert(row, QuestionRecord)


def _lines(path: str | Path) -> list[bytes]:
    require_file(Path(path), of="file of questions")
    try:
        return Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def _parse(path: str | Path, number: int, line: bytes) -> QuestionRecord:
    try:
        return record_of_row(msgspec.json.decode(line))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if _is_stored(line):
            raise UserError(
                f"{path}:{number}: is an entry of a replay, from `contraflow replay export`, and "
                "has no subject and statement; `contraflow replay seed` reads this file, and "
                "`contraflow generate` makes one with questions of the same sampler"
            ) from None
        raise UserError(
            f"{path}:{number}: is not a question with its scores ({error}); mend this line, or "
            "make the file again with `contraflow generate`"
        ) from None


def _is_stored(line: bytes) -> bool:
    """Whether a line is one that `contraflow replay export` writes."""
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(row, dict) and {"question_ids", "log_prior"} <= row.keys()
