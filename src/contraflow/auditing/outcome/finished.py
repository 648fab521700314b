"""A finished audit as it lies in its folder: result, questions and edits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contraflow.auditing.outcome.result import AuditResult, read_result
from contraflow.auditing.outcome.rows import Row, read_rows
from contraflow.errors import UserError
from contraflow.facts.edits import Edit, read_edits

RESULT = "audit.json"
QUESTIONS = "questions.jsonl"
EDITS = "edits.jsonl"
ANSWERS = "answers.jsonl"
REPORT = "report.html"
# Written as it comes, so also in the folder of an audit that was stopped: drawn questions, answers,
# and what adapted samplers found; with the first field of each line.
DRAWS = "draws.jsonl"
SEARCHES = "searches.jsonl"
GROWING = {DRAWS: "key", ANSWERS: "oracle", SEARCHES: "key"}


@dataclass(frozen=True)
class FinishedAudit:
    """What an audit left in its folder."""

    folder: Path
    result: AuditResult
    rows: tuple[Row, ...]
    edits: tuple[Edit, ...]


def is_audit(path: Path) -> bool:
    """Whether a path is the folder of an audit, or its `audit.json` or `questions.jsonl`."""
    return (_folder_of(path) / RESULT).is_file()


def is_part_of_audit(path: Path) -> bool:
    """Whether a path leads to a file that an audit wrote in its folder, finished or not."""
    path = path.resolve()
    if path.name not in (RESULT, QUESTIONS, EDITS, REPORT, *GROWING):
        return False
    growing = sum((path.parent / name).is_file() for name in GROWING)
    return growing > 1 or (path.parent / RESULT).is_file()


def finished_result(folder: Path) -> AuditResult:
    """Read the result of an audit. Raises: UserError, also for one that was stopped."""
    if not (folder / RESULT).is_file() and any((folder / name).is_file() for name in GROWING):
        raise UserError(
            f"{folder}: its audit is not finished; run the same command again, which goes on with "
            "the answers that are kept"
        )
    return read_result(folder / RESULT)


def read_audit(path: Path) -> FinishedAudit:
    """Read the folder of an audit; one of the two files in it may be named instead.

    Raises: UserError naming the file that is not there or not readable.
    """
    folder = _folder_of(path)
    result = finished_result(folder)
    return FinishedAudit(
        folder=folder,
        result=result,
        rows=tuple(read_rows(folder / QUESTIONS)),
        edits=_edits(folder, result),
    )


def _folder_of(path: Path) -> Path:
    return path.parent if path.name in (RESULT, QUESTIONS) and not path.is_dir() else path


def _edits(folder: Path, result: AuditResult) -> tuple[Edit, ...]:
    """The audit's own copy of its edits; of an older audit, the file that it names."""
    for path in (folder / EDITS, Path(result.edits)):
        if path.is_file():
            return read_edits(path).edits
    raise UserError(
        f"{folder}: has no {EDITS}, and {result.edits} is not there; run the audit again: its "
        "answers are kept"
    )
