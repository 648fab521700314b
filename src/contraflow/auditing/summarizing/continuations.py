"""Given texts that are to be continued ("The capital of France is"), and how many of them fail.

CounterFact's paraphrases, the ones that editors are scored on, are such texts. Rates and failure
modes are of questions, so these are in neither, and no source is said to have asked them; but where
the control continues one with the old answer, the edited model should continue it with the new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contraflow.auditing.asking.ask import continuation_is_sound
from contraflow.auditing.asking.standing import Standing
from contraflow.auditing.outcome.result import Continuations
from contraflow.auditing.outcome.rows import GIVEN, Row


def continuations(
    standings: Sequence[Standing], rows: Mapping[str, Sequence[Row]]
) -> tuple[Continuations, ...]:
    """Count them for each source of given texts that has any, over the counted edits.

    rows: of each edit by its key, once a text.
    """
    of_edits = [(s, rows.get(s.edit.fact.key, ())) for s in standings if s.is_counted]
    counts = [_count(source, of_edits) for source in GIVEN]
    return tuple(found for found in counts if found.n_continuations)


def _count(source: str, of_edits: Sequence[tuple[Standing, Sequence[Row]]]) -> Continuations:
    given = [(s, row) for s, of_edit in of_edits for row in of_edit if source in row.sources]
    texts = [(standing, row) for standing, row in given if row.is_continuation]
    known = [row for standing, row in texts if _is_known(standing, row)]
    return Continuations(
        source=source,
        n_given=len(given),
        n_continuations=len(texts),
        n_known=len(known),
        n_failing=sum(row.post != "NEW" for row in known),
    )


def _is_known(standing: Standing, row: Row) -> bool:
    """Whether the control continues a text about the edit with the original answer."""
    edit, original = standing.edit, standing.original_answer
    return row.pre == "OLD" and continuation_is_sound(edit, original, row.question)
