"""The files in an audit's folder that nothing else may replace."""

from __future__ import annotations

from contraflow.auditing.asking.questions import _Draws
from contraflow.auditing.outcome.finished import ANSWERS, DRAWS, GROWING, SEARCHES
from contraflow.auditing.searching.search_book import _Line as Search
from contraflow.run.answer_book import _Line as KeptAnswer


def test_the_growing_files_of_an_audit_are_known_by_their_first_field() -> None:
    lines = {DRAWS: _Draws, ANSWERS: KeptAnswer, SEARCHES: Search}
    assert {name: line.__struct_fields__[0] for name, line in lines.items()} == GROWING
