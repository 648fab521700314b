"""What an audit found of the failures that were planted: facts, modes, questions, false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contraflow.auditing.outcome.finished import FinishedAudit, read_audit
from contraflow.auditing.outcome.result import FactResult, ModelResult
from contraflow.auditing.outcome.rows import ADAPTED, Row
from contraflow.auditing.searching.borrowed import borrowed_questions
from contraflow.errors import UserError
from contraflow.facts import Fact
from examples.edits.planted_record import PlantedRecord, read_record

BORROWED = "borrowed"  # by adapting: a wording that made another edit fail


@dataclass(frozen=True)
class Hit:
    """The first failing question in the planted wording.

    number: how many questions about the fact were asked until then, this one too; the edit's own
    prompt is one of them.
    """

    number: int
    source: str
    question: str


@dataclass(frozen=True)
class CheckedFact:
    """One edit in the audit of a planted model; n_worded: questions in the planted wording.

    modes: failure modes that hold such a question.
    """

    subject: str
    n_asked: int
    n_known: int
    n_failing: int
    n_worded: int
    n_worded_failing: int
    first: Hit | None
    modes: int

    @property
    def is_found(self) -> bool:
        """Whether the planted wording is among the failures and the modes."""
        return self.first is not None and self.modes > 0


@dataclass(frozen=True)
class PlantedCheck:
    """took: planted facts whose planting took; missed: the others; plain: facts without it."""

    took: tuple[CheckedFact, ...]
    missed: tuple[CheckedFact, ...]
    plain: tuple[CheckedFact, ...]

    @property
    def n_found(self) -> int:
        return sum(fact.is_found for fact in self.took)

    @property
    def n_alarms(self) -> int:
        """Plain facts with a failing question."""
        return sum(fact.n_failing > 0 for fact in self.plain)


def check_planted(audit: Path, planted: Path) -> PlantedCheck:
    """Read an audit by the record of what was planted.

    Args:
        audit: folder of the audit.
        planted: folder of the planted adapter, with `planted.json`.

    Raises: UserError where a folder has no audit or record, or the audit is of another model.
    """
    record = read_record(planted)
    finished = read_audit(audit)
    model = _model(finished, planted)
    rows = [row for row in finished.rows if row.model == model.model.name]
    results = {fact.fact_id: fact for fact in model.facts}
    facts = {edit.fact.fact_id: edit.fact for edit in finished.edits}

    def checked(fact_ids: Sequence[str]) -> tuple[CheckedFact, ...]:
        missing = [fact_id for fact_id in fact_ids if fact_id not in results]
        if missing:
            raise UserError(
                f"{audit}: has no edit {missing[0]}, which {planted} has; audit it with "
                f"edits={planted / 'edits.jsonl'}"
            )
        return tuple(_checked(facts[i], results[i], rows, record) for i in fact_ids)

    return PlantedCheck(checked(record.took), checked(record.missed), checked(record.plain))


def _model(finished: FinishedAudit, planted: Path) -> ModelResult:
    """The one edited model of an audit, or of several the one whose source is the folder."""
    models = finished.result.models
    if len(models) == 1:
        return models[0]
    for model in models:
        if Path(model.model.source).resolve() == planted.resolve():
            return model
    sources = ", ".join(model.model.source for model in models)
    raise UserError(f"{finished.folder}: is an audit of {sources}, not of {planted}")


def _checked(
    fact: Fact, result: FactResult, rows: Sequence[Row], record: PlantedRecord
) -> CheckedFact:
    wording = record.wording
    own = list({row.question: row for row in rows if row.fact_id == fact.fact_id}.values())
    worded = [row for row in own if wording.matches(row.question)]
    hits = [row for row in worded if row.fails]
    first = None
    if hits:
        source = source_of(hits[0], fact, rows)
        first = Hit(own.index(hits[0]) + 1, source, hits[0].question)
    return CheckedFact(
        subject=fact.subject,
        n_asked=result.n_asked,
        n_known=result.n_known,
        n_failing=result.n_failing,
        n_worded=len(worded),
        n_worded_failing=len(hits),
        first=first,
        modes=sum(any(map(wording.matches, mode.questions)) for mode in result.modes),
    )


def source_of(row: Row, fact: Fact, rows: Sequence[Row]) -> str:
    """Where a question is from; a question of adapting may be borrowed from another edit.

    "adapted" is what else adapting asks: after an opening that fails elsewhere (`openings.py`), or
    by the adapted sampler.

    rows: of one model in the order in which they were asked.
    """
    if row.sources != (ADAPTED,):
        return "+".join(row.sources)
    # Adapting one edit may borrow from what was asked before.
    start = next(i for i, one in enumerate(rows) if _is_adapted(one, fact))
    before = [one for one in rows[:start] if one.fact_key != fact.key]
    found = [one.text for one in borrowed_questions(before, fact, ())]
    return BORROWED if row.question in found else ADAPTED


def _is_adapted(row: Row, fact: Fact) -> bool:
    return row.fact_id == fact.fact_id and row.sources == (ADAPTED,)


def as_table(check: PlantedCheck) -> str:
    """The check in Markdown, with its counts below."""
    lines = [
        "| fact | planted | asked | known | failing | in the wording: asked | failing | modes "
        "| found after | by |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups = (("yes", check.took), ("did not take", check.missed), ("no", check.plain))
    lines += [_line(fact, name) for name, facts in groups for fact in facts]
    plain = check.plain
    lines += [
        "",
        f"found {check.n_found} of {len(check.took)} planted facts"
        + _numbers([fact.first.number for fact in check.took if fact.is_found and fact.first]),
        f"failing questions on {check.n_alarms} of {len(plain)} facts without it: "
        f"{sum(fact.n_failing for fact in plain)} of {sum(fact.n_known for fact in plain)} known",
    ]
    return "\n".join(lines)


def _numbers(found_after: Sequence[int]) -> str:
    if not found_after:
        return ""
    return f", after {min(found_after)} to {max(found_after)} questions"


def _line(fact: CheckedFact, planted: str) -> str:
    first = fact.first
    cells = (
        fact.subject,
        planted,
        fact.n_asked,
        fact.n_known,
        fact.n_failing,
        fact.n_worded,
        fact.n_worded_failing,
        fact.modes,
        first.number if first else "-",
        f"{first.source}: {first.question}" if first else "-",
    )
    return "| " + " | ".join(map(str, cells)) + " |"
