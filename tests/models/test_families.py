"""Every decoder family in transformers: accepted and equal to its own forward, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

from support.families import ACCEPTED, as_markdown, families, outcome_of

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.mark.slow
def test_every_family_is_exact_or_refused_by_name():
    """To write the list of docs/models.md anew: the failing assertion prints it."""
    outcomes = {}
    for family in families():
        outcomes[family], difference = outcome_of(family)
        assert difference < 1e-4, family
    assert sum(outcome == ACCEPTED for outcome in outcomes.values()) >= 70
    page = DOCS.read_text()
    if f"transformers {transformers.__version__}" not in page:
        pytest.skip("docs/models.md lists the families of another version")
    assert as_markdown(outcomes) in page, as_markdown(outcomes)
