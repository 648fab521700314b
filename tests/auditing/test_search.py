"""Wordings that made other edits fail, tried with this edit's subject."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from contraflow.auditing.rows import Row
from contraflow.auditing.search import borrowed_questions
from contraflow.facts import Fact
from support.audit_rows import made_rows

FACT = Fact(fact_id="oslo", subject="Oslo", edit_fact="Oslo is in Peru.")
ROW = made_rows("edited", 0, 0.0, np.random.default_rng(0))[0]


def row(subject: str, question: str, *, fails: bool = True) -> Row:
    post = "OLD" if fails else "NEW"
    key = FACT.key if subject == "Oslo" else subject
    return msgspec.structs.replace(
        ROW, fact_key=key, subject=subject, question=question, sound=True, pre="OLD", post=post
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("Rome", "Where is Rome?")], ["Where is Oslo?"]),
        ([row("Rome", "Where is Rome?", fails=False)], []),
        ([row("Rome", "Where is it?")], []),
        ([row("Oslo", "Where is Oslo?")], []),
        ([row("Rome", "Where is Rome?"), row("Oslo", "Where is Oslo?", fails=False)], []),
        ([row("Rome", "Where is Rome?"), row("Bonn", "Where is Bonn?")], ["Where is Oslo?"]),
    ],
)
def test_failing_wordings_of_other_edits(rows: list[Row], expected: list[str]) -> None:
    """Not what works there, has no subject in it, or was asked of this edit already."""
    assert borrowed_questions(rows, FACT, set()) == expected


def test_each_other_edit_gives_one_in_turn() -> None:
    """Those of the same relation first, up to the number that is wanted."""
    rows = [row("Rome", f"Is Rome {i}?") for i in range(3)]
    rows += [row("Bonn", f"Was Bonn {i}?") for i in range(3)]
    found = borrowed_questions(rows, FACT, {"Bonn"}, 4)
    assert found == ["Was Oslo 0?", "Is Oslo 0?", "Was Oslo 1?", "Is Oslo 1?"]


def test_the_article_is_the_subjects_own() -> None:
    """ "the Rome" is no reason for "the Oslo"; the Alhambra has one in its statement."""
    rows = [row("Rome", "In which country is the Rome?"), row("Bonn", "Where is Bonn?")]
    assert borrowed_questions(rows, FACT, set()) == ["In which country is Oslo?", "Where is Oslo?"]
    alhambra = Fact(fact_id="a", subject="Alhambra", edit_fact="The Alhambra is in Peru.")
    assert borrowed_questions(rows, alhambra, set()) == [
        "In which country is the Alhambra?",
        "Where is the Alhambra?",
    ]
