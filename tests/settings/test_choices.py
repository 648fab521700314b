"""A group has one choice; Hydra's words for none or several are refused, not misread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.cli import Result, assert_one_error

Call = Callable[..., Result]
OBJECTIVES = "subtb, ctb, db, grpo, modified_subtb, rloo, tb, vargrad"


@pytest.mark.parametrize("word", ["~objective", "~objective=subtb", "~experiment"])
def test_a_group_cannot_be_taken_out(contraflow: Call, word: str) -> None:
    """The run had the objective of the dataclass."""
    result = contraflow("config", word)
    assert_one_error(result, f"{word}: a group cannot be taken out; give it a choice: ")
    assert word == "~experiment" or OBJECTIVES in result.err


def test_a_key_cannot_be_taken_out(contraflow: Call) -> None:
    assert_one_error(contraflow("config", "~seed"), "~seed: a key cannot be taken out")


@pytest.mark.parametrize("word", ["objective=[tb,db]", "objective=[tb]", "+objective=[tb,db]"])
def test_a_list_of_choices_is_refused(contraflow: Call, word: str) -> None:
    """Of several the last one was used."""
    assert_one_error(contraflow("config", word), f"{word}: takes one choice, of {OBJECTIVES}")


def test_a_group_without_a_choice_is_refused(contraflow: Call) -> None:
    result = contraflow("config", "objective=null")
    assert_one_error(result, f"objective=null: takes one choice, of {OBJECTIVES}")
    assert_one_error(
        contraflow("config", "experiment=null"), "experiment=null: takes", "quickstart"
    )


def test_a_word_for_a_list_is_shown_in_brackets(contraflow: Call) -> None:
    assert_one_error(
        contraflow("config", "model.lora.target_modules=q_proj"),
        "model.lora.target_modules=q_proj: must be a list; write [q_proj]",
    )
    assert_one_error(
        contraflow("config", "judge.label_order=neutral"), "must be a list; write [neutral]"
    )


def test_a_word_for_a_list_in_a_file_of_your_own(contraflow: Call, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "own.yaml").write_text("lora:\n  target_modules: q_proj\n")
    result = contraflow("config", f"--config-dir={tmp_path}", "model=own")
    assert_one_error(result, "model.lora.target_modules: must be a list; write [a]")
