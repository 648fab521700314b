"""`contraflow data filter-known` asks an oracle in any form, and never loses a file for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from contraflow.cli.commands._filter_known import _open_oracle
from contraflow.facts import Fact, known, read_facts
from contraflow.run import build
from contraflow.settings import Config
from contraflow.types import Answer
from support.cli import FACTS, Result, assert_one_error
from support.edits import QUESTIONS, asking_config, save_delta, save_tiny_adapter
from support.models import save_tiny_model
from support.served import FEW_SHOT, stand_in
from support.served_text import answer_to

Call = Callable[..., Result]
pytestmark = pytest.mark.filterwarnings("ignore")


def ask(facts: Path, *words: str) -> tuple[str, ...]:
    return ("data", "filter-known", f"facts={facts}", "out=known.jsonl", *words)


@pytest.fixture
def knows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The subjects that the oracle knows; the model and its answers are replaced."""
    subjects: list[str] = []

    def known_facts(facts: Sequence[Fact], _oracle: object, on_fact: Any) -> list[Fact]:
        on_fact(len(facts))
        if "stop" in subjects and facts[0].subject != "France":
            raise KeyboardInterrupt
        return [fact for fact in facts if fact.subject in subjects]

    monkeypatch.setattr(known, "known_facts", known_facts)
    monkeypatch.setattr(build, "load_lm", lambda _: None)
    monkeypatch.setattr(build, "load_oracle", lambda *_: None)
    return subjects


def test_nothing_known_leaves_the_old_file(
    contraflow: Call, facts_file: Path, knows: list[str]
) -> None:
    assert knows == []
    assert_known_nothing(contraflow(*ask(facts_file)))
    assert not Path("known.jsonl").exists()
    Path("known.jsonl").write_text("old\n")
    assert_known_nothing(contraflow(*ask(facts_file)))
    assert Path("known.jsonl").read_text() == "old\n"
    assert sorted(path.name for path in Path().iterdir()) == ["facts.jsonl", "known.jsonl"]


def assert_known_nothing(result: Result) -> None:
    assert result.code == 2 and result.out == ""
    line = result.err.splitlines()[-1]  # the bar before it
    assert "out=known.jsonl: not written, as the oracle knows none of the 2 facts" in line


def test_a_stop_keeps_what_is_known_so_far(
    contraflow: Call, write: Callable[..., Path], knows: list[str]
) -> None:
    """The first batch has 64 facts, all about France; the second one is stopped."""
    rows = [FACTS[0] | {"fact_id": str(i)} for i in range(64)] + [FACTS[1]]
    knows += ["France", "stop"]
    result = contraflow(*ask(write("many.jsonl", rows)))
    assert result.code == 130
    assert "64 lines are kept in known.jsonl.part" in result.err.splitlines()[-1]
    assert [fact.fact_id for fact in read_facts("known.jsonl.part")] == list(map(str, range(64)))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("openai:http://127.0.0.1:1/v1#tiny", ("127.0.0.1:1",)),
        ("gone.safetensors", ("oracle gone.safetensors: no such file",)),
        ("empty", ("oracle empty", "config.json")),
        ("adapter", ("oracle adapter: an adapter answers on its base", "base")),
    ],
)
def test_an_oracle_that_cannot_be_asked_is_named(
    contraflow: Call, facts_file: Path, name: str, parts: tuple[str, ...]
) -> None:
    Path("empty").mkdir()
    save_tiny_adapter("llama", Path("adapter"), str(Path("gone").absolute()))
    patience = "oracle.served.patience_s=0"
    result = contraflow(*ask(facts_file, f"oracle.name='{name}'", patience))
    assert_one_error(result, *parts)
    assert "sampler" not in result.err


class TestForms:
    """The oracle that is opened alone answers as that of a run."""

    @pytest.fixture
    def config(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
        monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
        save_tiny_model("llama", tmp_path / "model")
        return asking_config(name=str(tmp_path / "model"))

    @pytest.mark.parametrize("form", ["model", "adapter", "delta"])
    def test_a_local_one(self, tmp_path: Path, config: Config, form: str) -> None:
        named = tmp_path / form
        if form == "adapter":
            save_tiny_adapter("llama", named, config.model.name)
        elif form == "delta":
            named = save_delta("llama", tmp_path / "delta.safetensors")
        else:
            named = shutil.copytree(tmp_path / "model", tmp_path / "other")
        config.oracle.name = str(named)
        expected = build.load_oracle(config, build.load_lm(config))
        opened = _open_oracle(config)
        assert opened.identity == expected.identity
        assert opened.answer(QUESTIONS) == expected.answer(QUESTIONS)

    def test_a_served_one_loads_no_model(
        self, config: Config, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_config: Config) -> None:
            raise AssertionError("a sampler was loaded")

        monkeypatch.setattr(build, "load_lm", refuse)
        with stand_in() as server:
            config.oracle.name = server.source
            config.prompt.answer = FEW_SHOT
            answers: list[Answer] = _open_oracle(config).answer(["who is rome ?"])
        assert [answer.text for answer in answers] == [answer_to("who is rome ?")]
