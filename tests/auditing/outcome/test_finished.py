"""The files in an audit's folder that nothing else may replace."""

from __future__ import annotations

from contraflow.auditing.asking.pipeline import DRAWS
from contraflow.auditing.outcome.finished import ANSWERS, GROWING
from contraflow.auditing.searching.search_book import SEARCHES


def test_the_growing_files_of_an_audit_are_known() -> None:
    assert set(GROWING) == {DRAWS, ANSWERS, SEARCHES}
