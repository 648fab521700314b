"""An error about a fact names the line of the file that the fact came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from contraflow.facts import read_facts
from contraflow.facts.locate import FactError, at_line

LINES = (
    "\n"
    '{"subject": "Oslo", "edit_fact": "Oslo lies in Peru."}\n'
    "not JSON\n"
    '{"subject": "Rome", "edit_fact": "Rome lies in Peru.", "fact_id": "r"}\n'
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "facts.jsonl"
    file.write_text(LINES)
    return file


def test_a_fact_is_found_by_its_own_id(path: Path) -> None:
    found = at_line(FactError("r", "its edit_fact is too long"), path)
    assert str(found) == f"{path}:4: fact r: its edit_fact is too long"


def test_a_fact_is_found_by_its_derived_id(path: Path) -> None:
    good = path.with_name("good.jsonl")
    good.write_text("".join(LINES.splitlines(keepends=True)[:2]))
    fact_id = read_facts(good)[0].fact_id
    assert str(at_line(FactError(fact_id, "x"), path)).startswith(f"{path}:2: fact ")


@pytest.mark.parametrize("name", ["facts.jsonl", "nothing.jsonl", None])
def test_a_fact_from_elsewhere_keeps_its_message(path: Path, name: str | None) -> None:
    error = FactError("other", "its edit_fact is too long")
    assert at_line(error, None if name is None else path.with_name(name)) is error
