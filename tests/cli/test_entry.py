"""What every command shares: an error about a fact names the line of its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contraflow.facts import Fact, read_facts
from contraflow.facts.locate import FactError
from contraflow.settings import Config
from support.cli import Result, put_module

Call = Callable[..., Result]


class Refusing:
    """A run that refuses the last fact, as `Run.check_facts` does."""

    config = Config()

    def generate(self, facts: list[Fact], *_: Any, **__: Any) -> None:
        raise FactError(facts[-1].fact_id, "its edit_fact is too long for the judge")


@pytest.fixture(autouse=True)
def run(monkeypatch: pytest.MonkeyPatch) -> None:
    put_module(monkeypatch, "contraflow.run.session", open_run=lambda *_: Refusing())
    monkeypatch.setattr("contraflow.run.kept.Kept.of", lambda _kept, run: run)


def test_a_fact_that_is_refused_is_named_by_its_line(contraflow: Call, facts_file: Path) -> None:
    fact_id = read_facts(facts_file)[-1].fact_id
    result = contraflow("generate", "run=untrained", f"facts={facts_file}")
    assert result.code == 2
    expected = f"{facts_file}:2: fact {fact_id}: its edit_fact is too long for the judge"
    assert expected in result.err
    assert len(result.err.splitlines()) == 1


def test_a_fact_of_the_command_line_has_no_line(contraflow: Call) -> None:
    result = contraflow("generate", "run=untrained", "subject=Rome", "edit_fact=Rome is in Peru.")
    assert result.code == 2
    assert "error: fact " in result.err


def test_the_facts_of_a_training_run_are_named_too(
    contraflow: Call, write: Callable[[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"Place {number}" for number in range(40)]  # enough for all parts of a run
    rows = [{"subject": name, "edit_fact": f"{name} is in Chile."} for name in names]
    facts_file = write("facts.jsonl", rows)
    facts = read_facts(facts_file)

    def train(*_: Any) -> None:
        raise FactError(facts[0].fact_id, "its original_fact is too long for the judge")

    put_module(monkeypatch, "contraflow.training.job", train=train)
    for override in (f"data.facts={facts_file}", f"data.facts='{facts_file}'"):
        result = contraflow("train", override)
        assert f"{facts_file}:1: fact {facts[0].fact_id}: its original_fact" in result.err
