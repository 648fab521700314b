"""A run without facts of one part says where its facts went, before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from contraflow.distributed.ranks import Ranks
from contraflow.errors import UserError
from contraflow.facts import Fact, split_facts
from contraflow.settings import Config, DataConfig
from contraflow.training.joining import check_facts_go_round
from support.runs import tiny_config


def facts_in(*parts: str) -> list[Fact]:
    """Return a fact of each part, by the hash of its subject."""
    found: list[Fact] = []
    candidates = [
        Fact(fact_id=str(i), subject=f"Land {i}", edit_fact=f"Land {i} is flat.")
        for i in range(400)
    ]
    part_of = {
        fact: name for name, facts in split_facts(candidates)._asdict().items() for fact in facts
    }
    for part in parts:
        found.append(next(f for f in candidates if part_of[f] == part and f not in found))
    return found


def config_of(tmp_path: Path) -> Config:
    return tiny_config(tmp_path, data=DataConfig(facts="three.jsonl"))


def test_facts_that_are_all_for_testing_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_facts_go_round(config_of(tmp_path), facts_in("test", "test", "test"), Ranks())
    message = str(caught.value)
    assert message.startswith(
        "data.facts=three.jsonl: a hash of the subjects makes all 3 facts test facts, so there are "
        "no training facts and no validation facts; give facts about more subjects"
    )


def test_a_missing_validation_part_is_found_early_too(tmp_path: Path) -> None:
    """It stopped the run after its models were loaded and the oracle was asked."""
    with pytest.raises(UserError, match="2 training facts and 1 test fact, so there are no valid"):
        check_facts_go_round(config_of(tmp_path), facts_in("train", "train", "test"), Ranks())


def test_a_fact_of_each_part_is_enough_for_one_rank(tmp_path: Path) -> None:
    check_facts_go_round(config_of(tmp_path), facts_in("train", "validation", "test"), Ranks())
