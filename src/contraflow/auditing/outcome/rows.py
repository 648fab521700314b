"""One question put to the control and to an edited model: a line of `questions.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from contraflow.errors import UserError, on_one_line
from contraflow.system.files import write_lines

PROMPT = "prompt"
PLAIN = "plain"
PARAPHRASE = "paraphrase"
PRIOR = "untrained"
SAMPLER = "sampler"
ADAPTED = "adapted"
OWN = "own"
# Sources whose texts are as somebody else wrote them: many data sets have no questions.
GIVEN = (PARAPHRASE, OWN)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A question with the answers of both models and what they say.

    fact_key: of the fact's whole content, unlike the user's fact_id.
    sources: where the question is from; the sampler and the untrained one may both have drawn it.
    style: how it was asked; "completion" for a text that is to be continued, not a question.
    sound: a question about the subject that names neither answer, of an edit with a new answer;
        only such questions count.
    weight: p_ref / inclusion probability, whose sum over the draws of a fact has mean 1; 1 for a
        person's own question, 0 for any other that is no draw.
    pre, post: verdicts on the answers of the control and of the edited model.
    log_contradiction, log_entailment: the judge's word on the edited model's answer, in nats: that
        it contradicts the edit fact, and that it says the original one. It decides nothing.
    """

    model: str
    fact_key: str
    fact_id: str
    subject: str
    edit_fact: str
    question: str
    sources: tuple[str, ...]
    style: str
    sound: bool
    weight: float
    log_p_prior: float | None
    log_pf: float | None
    pre: str
    post: str
    pre_answer: str
    post_answer: str
    log_contradiction: float | None = None
    log_entailment: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether the control tells the original answer to a sound question."""
        return self.sound and self.pre == "OLD"

    @property
    def fails(self) -> bool:
        """An edit failure: the control says OLD, the edited model does not say NEW."""
        return self.is_known and self.post != "NEW"

    @property
    def is_residual(self) -> bool:
        """A residual belief: both say OLD."""
        return self.is_known and self.post == "OLD"

    @property
    def is_continuation(self) -> bool:
        """Whether it is a text to be continued ("The capital of France is"), not a question."""
        return self.style == "completion"

    @property
    def is_draw(self) -> bool:
        """Whether it carries a weight: a draw of the sampler, or a person's own question."""
        return self.weight > 0


def with_found(rows: Sequence[Row], found: Iterable[Row]) -> list[Row]:
    """Rows of one model, and those that a search found.

    A question that was asked before keeps its row, with its weight, and the search is one of its
    sources.
    """
    joined = {(row.fact_key, row.style, row.question): row for row in rows}
    for new in found:
        first = joined.setdefault((new.fact_key, new.style, new.question), new)
        sources = tuple(dict.fromkeys([*first.sources, *new.sources]))
        joined[first.fact_key, first.style, first.question] = msgspec.structs.replace(
            first, sources=sources
        )
    return list(joined.values())


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write one JSON object per line and return their number. Raises: UserError."""
    return write_lines(path, (msgspec.json.encode(row) for row in rows))


def read_rows(path: Path) -> list[Row]:
    """Read what `write_rows` wrote. Raises: UserError naming file and line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        raise UserError(
            f"{path}: no such questions of an audit; run the audit again: its answers are kept"
        ) from None
    return [_row(path, number, line) for number, line in enumerate(lines, start=1) if line]


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        return msgspec.json.decode(line, type=Row)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{path}:{number}: is not what this version's `contraflow audit` wrote "
            f"({on_one_line(error)}); run the audit again: its answers are kept"
        ) from None
