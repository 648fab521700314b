"""What a stopped `evaluate` or `generate` leaves beside its output: the folder FILE.kept.

A run that is stopped while it measures leaves such a folder in `evaluation`.
``answers.jsonl`` has each answer of a server as soon as it is there, and those of a local model
in batches of up to 64; ``questions.jsonl`` has the batches of questions that are scored and judged.
The same command goes on from them and asks nothing twice. Answers have the oracle's identity, and
batches that of all they depend on, so a command with other models or settings uses only what is
still right. The folder is removed when FILE is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from contraflow.evaluation.record_book import RecordBook
from contraflow.run.answer_book import AnswerBook, BookedOracle
from contraflow.run.lock import LOCK, exclusive_lock
from contraflow.run.own_objects import scores_identity
from contraflow.run.sampler_identity import sampler_identity
from contraflow.system.destinations import file_behind, is_stream
from contraflow.system.files import write_error
from contraflow.system.progress import print_plain
from contraflow.system.versions import versions_of

if TYPE_CHECKING:
    from contraflow.run.session import Run

ANSWERS = "answers.jsonl"
QUESTIONS = "questions.jsonl"
BUSY = "another process makes the same file; wait for it to end, or name another out="


@dataclass(frozen=True)
class Kept:
    """The open folder of one output; without a folder nothing is kept.

    n_found: answers of any oracle that were there when it was opened.
    """

    folder: Path | None = None
    answers: AnswerBook | None = None
    n_found: int = 0

    def of(self, run: Run) -> Run:
        """The run with an oracle and a rollout that keep what they make here, and use what is here.

        Raises: UserError where a file in the folder holds something else.
        """
        if self.folder is None or self.answers is None:
            return run
        batches = RecordBook(self.folder / QUESTIONS, _identity(run))
        n_answers = min(self.n_found, self.answers.count(run.oracle))
        if n_answers or batches.n_records:
            print_plain(
                f"{self.folder}: going on with {n_answers} answers and {batches.n_records} scored "
                "questions of a run that was stopped"
            )
        elif self.n_found:
            print_plain(f"{self.folder}: its answers are of another oracle, and are not used")
        return replace(run, oracle=BookedOracle(run.oracle, self.answers), batches=batches)


@contextmanager
def kept_beside(out: Path | None) -> Iterator[Kept]:
    """Open the folder FILE.kept of an output; a stream, or None, has none.

    If the block fails, a note on its exception says what is kept; if not, the folder is removed.

    Raises: UserError where the folder cannot be used, or another process uses it.
    """
    if out is None or is_stream(out):
        yield Kept()
        return
    with kept_in(folder_of(out)) as kept:
        yield kept


@contextmanager
def kept_in(folder: Path) -> Iterator[Kept]:
    """Open a folder, which is made where there is none; what happens then as in `kept_beside`."""
    with exclusive_lock(folder, BUSY), AnswerBook(folder / ANSWERS) as answers:
        try:
            yield Kept(folder, answers, len(answers))
        except BaseException as error:
            if _is_empty(folder):
                _remove(folder)
            else:
                error.add_note(f"all answers are kept in {folder}, and the same command goes on")
            raise
        _remove(folder)


def folder_of(out: Path) -> Path:
    """FILE.kept, beside the file behind any links. Raises: UserError for links in a circle."""
    try:
        path = file_behind(out)
    except OSError as error:
        raise write_error(out, error) from None
    return path.with_name(f"{path.name}.kept")


def _identity(run: Run) -> str:
    """16 hex digits of all that a scored question depends on, but for its fact and its draw."""
    parts = [
        versions_of(("contraflow",)),
        sampler_identity(run),
        run.policy.lm.device.type,
        run.oracle.identity,
        scores_identity(run.judge),
        getattr(run.reward, "identity", ""),
        asdict(run.reward),
    ]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def _is_empty(folder: Path) -> bool:
    paths = (folder / ANSWERS, folder / QUESTIONS)
    return not any(path.exists() and path.stat().st_size for path in paths)


def _remove(folder: Path) -> None:
    """Remove our files, and the folder if nothing else is in it."""
    with suppress(OSError):
        for name in (ANSWERS, QUESTIONS, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
