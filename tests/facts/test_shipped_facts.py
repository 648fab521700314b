"""The facts in the package equal what the builder makes of the tables, without a flagged row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from contraflow.facts import default_facts, write_facts
from contraflow.facts.check import check_facts
from contraflow.text.match import mentions
from data_sources import build_facts

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "src" / "contraflow" / "assets" / "facts.jsonl"


def test_the_shipped_file_is_what_the_builder_makes(tmp_path: Path) -> None:
    built = tmp_path / "facts.jsonl"
    write_facts(built, build_facts.build(build_facts.read_tables(build_facts.TABLES)))
    assert built.read_bytes() == SHIPPED.read_bytes(), "run: python data_sources/build_facts.py"


def test_nothing_shipped_is_flagged() -> None:
    assert [str(problem) for problem in check_facts(SHIPPED)] == []


def test_there_are_enough_facts_of_enough_relations() -> None:
    counts = Counter(fact.relation for fact in default_facts())
    assert sum(counts.values()) >= 1300
    assert len(counts) >= 36
    assert min(counts.values()) >= 5


def test_every_fact_is_complete() -> None:
    for fact in default_facts():
        assert fact.question.endswith("?")
        assert fact.original_fact != fact.edit_fact
        assert mentions(fact.original_fact, fact.original_answer), fact
        assert not mentions(fact.original_fact, fact.edited_answer), fact
        assert not mentions(fact.edit_fact, fact.original_answer, fact.aliases), fact
