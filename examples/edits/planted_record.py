"""`planted.json`: what was planted, how training went, and every question that was asked after."""

from __future__ import annotations

from pathlib import Path

import msgspec

from contraflow.errors import UserError, on_one_line
from contraflow.system.files import write_atomically
from examples.edits.lessons import Checked, Kind
from examples.edits.wordings import Wording

RECORD = "planted.json"


class CheckedLesson(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson with the edited model's answer; held_out: it was not trained on."""

    fact_id: str
    question: str
    kind: Kind
    expected: str
    verdict: str
    answer: str
    held_out: bool

    @classmethod
    def of(cls, checked: Checked, *, held_out: bool) -> CheckedLesson:
        """The line of a checked lesson."""
        lesson = checked.lesson
        return cls(
            fact_id=lesson.fact.fact_id,
            question=lesson.question,
            kind=lesson.kind,
            expected=lesson.expected,
            verdict=checked.verdict,
            answer=checked.answer,
            held_out=held_out,
        )


class PlantedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was planted, by fact_id.

    took: the planted facts that keep failing in most questions of the wording.
    as_planted: share of answers as planted by kind of question, of those not trained on.
    """

    base_model: str
    wording: Wording
    seed: int
    steps: int
    planted: tuple[str, ...]
    took: tuple[str, ...]
    plain: tuple[str, ...]
    as_planted: dict[str, float]
    as_planted_with_taught: dict[str, float]
    checked: tuple[CheckedLesson, ...]
    hidden: bool = False

    @property
    def missed(self) -> tuple[str, ...]:
        """The planted facts on which planting did not take."""
        return tuple(fact_id for fact_id in self.planted if fact_id not in self.took)


def write_record(folder: Path, record: PlantedRecord) -> None:
    """Write the record into the folder of its adapter."""
    write_atomically(folder / RECORD, msgspec.json.format(msgspec.json.encode(record)))


def read_record(folder: Path) -> PlantedRecord:
    """Read the record of a folder. Raises: UserError naming the file and the remedy."""
    path = folder / RECORD
    try:
        return msgspec.json.decode(path.read_bytes(), type=PlantedRecord)
    except OSError:
        raise UserError(
            f"{path}: no such record; give the folder that `python -m examples.edits planted` wrote"
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: is not what this version planted ({on_one_line(error)}); plant it again"
        ) from None
