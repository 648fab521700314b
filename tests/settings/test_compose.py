"""The packaged configs compose into a checked `Config`, and every override keeps its meaning."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from contraflow.errors import UserError
from contraflow.settings import Config, flat
from contraflow.settings.compose import compose_config
from contraflow.settings.keys import (
    choices_of,
    config_folder,
    group_defaults,
    group_names,
    text_keys,
)
from contraflow.text.prompts import answer_prompt, task_prompt
from support.cli import Result

Call = Callable[..., Result]

NEEDS = {  # what the user must set with some choices
    "data=custom": "data.facts=mine.jsonl",
    "model=any": "model.name=some/model",
    "oracle=separate": "oracle.name=some/model",
    "judge=any": "judge.name=some/model",
    "replay=redis": "replay.url=redis://localhost:6379/0",
    "experiment=gpt2_large_zsre": "data.facts=zsre.jsonl",
}
CHOICES = [(group, choice) for group in group_names() for choice in choices_of(group)]
GROUPS = (
    "data, oracle, judge, prompt, policy, reward, objective, optimizer, exploration, replay, "
    "exchange, trainer, logger, evaluation, model, experiment"
)


def test_the_groups_of_the_design_are_there() -> None:
    assert ", ".join(group_names()) == GROUPS
    folders = {folder.name for folder in config_folder().iterdir() if folder.is_dir()}
    assert folders - {"__pycache__"} == set(group_names())


@pytest.mark.slow
@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=[f"{g}={c}" for g, c in CHOICES])
def test_every_packaged_choice_composes(group: str, choice: str) -> None:
    override = f"{group}={choice}"
    if override not in NEEDS:
        assert isinstance(compose_config([override]), Config)
        return
    key = NEEDS[override].partition("=")[0]
    with pytest.raises(UserError, match=f"^{key} is not set; add {key}=…$"):
        compose_config([override])
    assert isinstance(compose_config([override, NEEDS[override]]), Config)


def test_defaults_are_those_of_the_dataclasses() -> None:
    """No number is written twice.

    Without a preset, the configs add only the prompts and the target modules of the adapter.
    """
    composed, plain = compose_config([]), Config()
    lora = replace(composed.model.lora, target_modules=None)
    composed = replace(composed, prompt=plain.prompt, model=replace(composed.model, lora=lora))
    plain = replace(plain, run_dir="runs/run")  # which names the run by its `name`
    assert asdict(composed) == asdict(plain)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("data.facts=~/Größe (1) & co.jsonl", "data.facts", "~/Größe (1) & co.jsonl"),
        ("name=übung", "name", "übung"),
        ("prompt.task=Ask: {subject}?", "prompt.task", "Ask: {subject}?"),
        ("data.facts=it's.jsonl", "data.facts", "it's.jsonl"),
        ("run_dir=~/runs/a#b", "run_dir", str(Path.home() / "runs/a#b")),
    ],
)
def test_a_text_of_any_signs_needs_no_quotes(override: str, key: str, value: str) -> None:
    assert flat(asdict(compose_config([override])))[key] == value


@pytest.mark.parametrize("prompt", choices_of("prompt"))
def test_prompts_end_where_the_model_must_go_on(prompt: str) -> None:
    config = compose_config([f"prompt={prompt}"]).prompt
    assert config.task.endswith((":", "<|im_start|>assistant\n"))
    assert config.answer.endswith("\nQuestion: {question}\nAnswer:")
    fields = {"subject": "{x} $y ${z}", "edit_fact": "{x} $y ${z}"}
    # Braces of a fact are no placeholders.
    assert "{x} $y ${z}" in task_prompt(config.task).body(**fields)
    assert answer_prompt(config.answer).header.count("Answer:") == 5


def test_the_original_prompt_is_the_original_one() -> None:
    task = compose_config(["prompt=subject_only"]).prompt.task
    assert task == "Generate a question about {subject}:\nQuestion:"


def test_a_later_word_wins_over_the_experiment() -> None:
    config = compose_config(
        ["experiment=debug_fast", "trainer.n_steps=7", "objective=tb", "seed=0"]
    )
    assert (config.name, config.run_dir) == ("debug_fast", "runs/debug_fast")
    assert (config.trainer.n_steps, config.objective.name, config.seed) == (7, "tb", 0)


def test_a_plus_before_a_known_key_changes_nothing() -> None:
    assert compose_config(["+experiment=debug_fast"]) == compose_config(["experiment=debug_fast"])


AS_TYPED = ("1.10", "2024_11_26", "1e3", "007", "-1", "+5", "inf", "true", "1_0", "12345e6789")


@pytest.mark.parametrize("word", AS_TYPED)
def test_a_text_that_looks_like_a_number_stays(word: str) -> None:
    """Each way to write an override, on a key of its own: composing once is a tenth of a second."""
    config = compose_config(
        [f"name={word}", f"+data.facts={word}", f"model.name='{word}'", f"judge.name= {word} "]
    )
    assert (config.name, config.run_dir) == (word, f"runs/{word}")
    assert (config.data.facts, config.model.name, config.judge.name) == (word, word, word)


# Keys of a text that may be any; the others have choices or formats of their own.
FREE = {
    "data.facts",
    "judge.name",
    "logger.wandb_project",
    "model.adapter",
    "model.name",
    "name",
    "oracle.name",
    "prompt.answer",
    "prompt.task",
    "replay.url",
    "run_dir",
}


def test_every_key_of_a_text_keeps_its_word() -> None:
    """Keys with choices or formats of their own refuse the word, as it was typed."""
    keys = text_keys()
    assert keys >= FREE
    assert not keys & {"seed", "optimizer.lr", "logger.csv", "trainer.threads"}
    settings = flat(asdict(compose_config(["replay=redis", *(f"{key}=1_0.50" for key in FREE)])))
    assert {settings[key] for key in FREE} == {"1_0.50"}
    for key in keys - FREE:
        with pytest.raises(UserError, match=f"^{re.escape(key)}=1_0.50: must be "):
            compose_config([f"{key}=1_0.50"])


def test_null_quotes_and_lists_keep_their_meaning() -> None:
    config = compose_config(
        [
            "replay.url=null",
            "oracle.name='null'",
            "run_dir=at/${name}",
            "name=1.10",
            "model.lora.target_modules=[1e3,'a,b', q]",
        ]
    )
    assert (config.replay.url, config.oracle.name, config.run_dir) == (None, "null", "at/1.10")
    assert config.model.lora.target_modules == ["1e3", "a,b", "q"]
    assert compose_config(["model.lora.target_modules=null"]).model.lora.target_modules is None


def test_config_prints_equivalent_yaml(contraflow: Call) -> None:
    result = contraflow("config", "experiment=quickstart", "objective.lam=0.9")
    assert result.code == 0
    assert yaml.safe_load(result.out) == asdict(
        compose_config(["experiment=quickstart", "objective.lam=0.9"])
    )
    assert "task: |" in result.out  # a readable prompt


def test_config_shows_no_password(contraflow: Call) -> None:
    result = contraflow("config", "replay=redis", "replay.url=redis://me:secret@host:6379/0")
    assert result.code == 0
    assert "url: redis://host:6379/0" in result.out
    assert "secret" not in result.out


def test_composing_leaves_nothing_behind(contraflow: Call, tmp_path: Path) -> None:
    contraflow("config")
    assert list(tmp_path.iterdir()) == []


def test_experiments_only_override() -> None:
    for name in choices_of("experiment"):
        text = (config_folder() / "experiment" / f"{name}.yaml").read_text()
        assert text.startswith("# @package _global_\n")
        choices = yaml.safe_load(text).get("defaults", [])
        assert all(key.startswith("override /") for choice in choices for key in choice)
    assert group_defaults()["experiment"] == "null"


def test_a_served_oracle_is_read_as_typed() -> None:
    """Hydra reads no unquoted # in a value."""
    name = "openai:http://localhost:8000/v1#my-edited-model"
    assert compose_config([f"oracle.name={name}"]).oracle.name == name
