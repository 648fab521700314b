"""A facts file that is corrected between two starts of a run is not ignored without a word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact, read_facts, write_facts
from contraflow.run.facts_source import check_facts_source
from contraflow.run.folder import open_folder
from contraflow.settings import Config
from support.runs import tiny_config, write_tiny_facts


@pytest.fixture
def started(tmp_path: Path) -> Config:
    """A run that has read its facts and chosen and measured some."""
    write_tiny_facts(tmp_path / "facts.jsonl")
    config = tiny_config(tmp_path, "x")
    start(config)
    for path in results(config):
        path.write_text("{}\n")
    return config


def start(config: Config) -> None:
    """What a start does before it loads a model."""
    facts = facts_of(config)
    check_facts_source(config, open_folder(config), facts)


def facts_of(config: Config) -> list[Fact]:
    return read_facts(str(config.data.facts))


def results(config: Config) -> list[Path]:
    folder = Path(config.run_dir)
    return [folder / "train_facts.jsonl", folder / "evaluation" / "before.json"]


def correct_one_answer(config: Config) -> None:
    facts = facts_of(config)
    facts[2] = msgspec.structs.replace(facts[2], original_answer="Paris")
    write_facts(str(config.data.facts), facts)


def checkpoint(config: Config) -> None:
    (Path(config.run_dir) / "checkpoints" / "last.ckpt").touch()


def test_corrected_facts_are_refused_after_a_checkpoint(started: Config):
    checkpoint(started)
    correct_one_answer(started)
    with pytest.raises(UserError, match=r"^data\.facts=.*facts\.jsonl: has other facts") as refused:
        start(started)
    assert "\n" not in str(refused.value)
    assert all(path.is_file() for path in results(started))


def test_the_refusal_says_how_to_go_on_nevertheless(started: Config):
    checkpoint(started)
    correct_one_answer(started)
    (Path(started.run_dir) / "facts_source.json").unlink()
    start(started)
    start(started)
    assert all(path.is_file() for path in results(started))


def test_before_a_checkpoint_corrected_facts_are_chosen_anew(started: Config):
    correct_one_answer(started)
    start(started)
    assert not any(path.exists() for path in results(started))
    checkpoint(started)
    start(started)


def test_an_added_fact_and_another_order_are_changes(started: Config):
    """The choice is a shuffle of the file, which depends on both."""
    checkpoint(started)
    facts = facts_of(started)
    for changed in ([*facts, msgspec.structs.replace(facts[0], fact_id="new")], facts[::-1]):
        write_facts(str(started.data.facts), changed)
        with pytest.raises(UserError, match="has other facts"):
            start(started)
    write_facts(str(started.data.facts), facts)
    start(started)


def test_spaces_and_columns_of_the_user_are_no_changes(started: Config):
    checkpoint(started)
    path = Path(str(started.data.facts))
    path.write_text(path.read_text().replace("{", '{ "my_note": "seen", ') + "\n\n")
    start(started)


def test_a_run_of_an_older_version_goes_on(started: Config):
    (Path(started.run_dir) / "facts_source.json").unlink()
    correct_one_answer(started)
    start(started)
    assert all(path.is_file() for path in results(started))


def test_the_packaged_facts_are_not_compared(started: Config):
    packaged = replace(started, data=replace(started.data, facts=None), run_dir="unused")
    check_facts_source(packaged, Path(started.run_dir), [])


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"hash": 1'])
def test_a_damaged_record_is_refused_by_its_path(started: Config, content: str):
    path = Path(started.run_dir) / "facts_source.json"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"^{path}: was cut or damaged; .*remove it"):
        start(started)
