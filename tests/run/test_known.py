"""Facts that an oracle knows: local models are asked once, servers each time."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from contraflow import compose_config, default_facts, open_run
from contraflow.facts import Fact
from contraflow.facts.known import plain_question
from contraflow.facts.plain_answers import SHIPPED, PlainAnswers
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.run import known
from contraflow.run.known import known_to
from contraflow.text.prompts import answer_prompt
from contraflow.types import Answer
from support.models import fresh_lm
from support.tables import RecordingOracle

FACT = Fact(
    fact_id="1",
    subject="rome",
    edit_fact="rome is a fact",
    original_answer="city",
    question="what is rome?",
)


class Asked(FrozenLMOracle):
    """A tiny model that keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(fresh_lm(), answer_prompt("ask : {question}\nfact :"))
        self.asked: list[str] = []

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        self.asked += questions
        return super().answer(questions)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    known._remembered.cache_clear()


@pytest.mark.usefixtures("own_cache")
def test_a_local_model_is_asked_once_in_all_runs(tmp_path: Path) -> None:
    first, second = Asked(), Asked()
    found = known_to(first, [FACT])
    known._remembered.cache_clear()  # another process
    assert known_to(second, [FACT]) == found
    assert (first.asked, second.asked) == (["what is rome?"], [])
    remembered = PlainAnswers(first.identity, tmp_path / "cache" / "plain_answers")
    assert remembered.get("what is rome?") is not None


@pytest.mark.usefixtures("own_cache")
def test_other_oracles_are_asked_each_time(tmp_path: Path) -> None:
    oracle = RecordingOracle()
    for _ in range(2):
        known_to(oracle, [FACT])
    assert oracle.questions.count("what is rome?") == 2
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_shipped_answers_are_those_of_the_packaged_oracle() -> None:
    """Of 24 answers one may differ: another batch or machine rounds differently."""
    head, *rows = map(json.loads, SHIPPED.read_text().splitlines())
    oracle = open_run("untrained", compose_config(["model.device=cpu"])).oracle
    assert head == {"oracle": oracle.identity}
    some = random.Random(0).sample(rows, 24)
    answers = oracle.answer([row["question"] for row in some])
    same = sum(a.text == row["answer"] for a, row in zip(answers, some, strict=True))
    assert same >= 23
    assert len(rows) >= len({plain_question(f) for f in default_facts()} - {""})
