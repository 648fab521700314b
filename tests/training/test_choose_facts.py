"""Which facts a run takes, and what it says of those that it cannot ask about."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contraflow.facts import Fact, read_facts
from contraflow.settings import DataConfig, PolicyConfig, PromptConfig
from contraflow.training.choose_facts import choose_facts
from support.runs import tiny_config, write_tiny_facts
from support.tables import RecordingOracle

TASK = "Fact: {edit_fact}\nQuestion about {subject}:"


def facts_of(folder: Path, subject_of_all: str = "") -> list[Fact]:
    path = folder / "facts.jsonl"
    write_tiny_facts(path)
    facts = read_facts(path)
    if not subject_of_all:
        return facts
    return [
        msgspec.structs.replace(fact, subject=f"{subject_of_all}{i}")
        for i, fact in enumerate(facts)
    ]


@pytest.mark.parametrize(
    ("vocabulary", "is_said"), [("latin", True), ("printable_ascii", True), ("all", False)]
)
def test_a_subject_beyond_the_vocabulary_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], vocabulary: str, is_said: bool
) -> None:
    config = tiny_config(
        tmp_path,
        data=DataConfig(filter_known=False),
        policy=PolicyConfig(vocabulary=vocabulary),
    )
    facts = facts_of(tmp_path, "\u041c\u043e\u0441\u043a\u0432\u0430 [\u0431]")
    chosen = choose_facts(config, tmp_path, facts, RecordingOracle())
    said = [line for line in capsys.readouterr().err.splitlines() if "warning: " in line]
    assert [line.split(": ")[1] for line in said] == ["train", "validation", "test"] * is_said
    n = len(chosen.train)
    assert not said or f"{n} of {n} facts have a subject such as '\u041c" in said[0]
    assert all(f"cannot be written in policy.vocabulary={vocabulary}" in line for line in said)


def test_no_word_about_subjects_in_the_vocabulary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(tmp_path, data=DataConfig(filter_known=False))
    choose_facts(config, tmp_path, facts_of(tmp_path), RecordingOracle())
    assert "warning" not in capsys.readouterr().err


def test_a_subject_in_a_header_is_left_out(tmp_path: Path) -> None:
    """Also as a part of another name: Rome stands in "New Rome"."""
    header = "Fact: x\nQuestion about New Rome: Where is New Rome?\n\n"
    config = tiny_config(
        tmp_path,
        data=DataConfig(filter_known=False),
        prompt=PromptConfig(task=header + TASK, answer="{question}"),
    )
    facts = facts_of(tmp_path)
    facts[3] = msgspec.structs.replace(facts[3], subject="Rome")
    chosen = choose_facts(config, tmp_path, facts, RecordingOracle())
    ids = {fact.fact_id for fact in (*chosen.train, *chosen.validation, *chosen.test)}
    assert facts[3].fact_id not in ids
    assert ids
