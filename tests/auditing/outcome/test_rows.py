"""Rows of a search beside those of the screening."""

from __future__ import annotations

import msgspec
import numpy as np

from contraflow.auditing.outcome.rows import ADAPTED, PRIOR, Row, with_found
from support.audits import made_rows

ROW = msgspec.structs.replace(
    made_rows("edited", 0, 0.0, np.random.default_rng(0))[0], sources=(PRIOR,), style="bare"
)


def row(question: str, **changes: object) -> Row:
    return msgspec.structs.replace(ROW, question=question, **changes)


def test_a_question_that_is_found_again_keeps_its_row() -> None:
    """Its weight and its log P_Q are of a draw; a second row of it would count twice."""
    drawn = row("Who wrote Hamlet?", weight=0.7, log_p_prior=-3.0)
    nothing = {"weight": 0.0, "log_p_prior": None, "sources": (ADAPTED,)}
    found = [row("Who wrote Hamlet?", **nothing), row("Who is it by?", **nothing)]
    both = msgspec.structs.replace(drawn, sources=(PRIOR, ADAPTED))
    assert with_found([drawn], found) == [both, found[1]]
    assert with_found(with_found([drawn], found), found) == [both, found[1]]


def test_another_style_or_edit_is_another_question() -> None:
    first = row("Who wrote Hamlet?")
    others = [row("Who wrote Hamlet?", style="chat"), row("Who wrote Hamlet?", fact_key="other")]
    assert with_found([first], others) == [first, *others]
