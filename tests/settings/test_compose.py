"""The packaged configs compose into a checked `Config`; anything else is an error of one line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

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
from support.cli import Result, assert_one_error

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
    settings = flat(asdict(compose_config([f"{key}=1_0.50" for key in FREE])))
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


def test_a_choice_of_your_own_may_look_like_a_number(tmp_path: Path) -> None:
    folder = own_experiment(tmp_path, "2024_11_26", "# @package _global_\nname: mine\n")
    assert compose_config(["experiment=2024_11_26"], folder).name == "mine"


BAD = {
    # unknown names
    "objective.lamda=0.9": ["unknown key 'objective.lamda'", "did you mean objective.lam?"],
    "lam=0.9": ["unknown key 'lam'", "objective.lam"],
    "n_samples=4": ["exploration.n_samples", "evaluation.n_samples"],
    "+foo=1": ["unknown key 'foo'", "`contraflow config`"],
    "hydra.run.dir=x": ["unknown key 'hydra.run.dir'"],
    "quickstart": ["'quickstart' is not key=value", "experiment=quickstart"],
    "=3": ["no key before the ="],
    "objective=subtbb": ["objective=subtbb: no such choice", "did you mean subtb?", "vargrad"],
    "experiment=quickstrt": ["experiment=quickstrt", "did you mean quickstart?", "overnight"],
    "model=gpt5": ["model=gpt5", "gpt2_large", "model=any model.name="],
    # wrong types
    "exploration.n_samples=many": ["exploration.n_samples=many: must be a whole number"],
    "evaluation.n_samples=1.5": ["evaluation.n_samples=1.5: must be a whole number"],
    "optimizer.lr=fast": ["optimizer.lr=fast: must be a number"],
    "logger.csv=maybe": ["logger.csv=maybe: must be true or false"],
    "seed=null": ["seed=null: must not be null"],
    "model.lora=3": ["model.lora=3: holds several keys"],
    "objective.lam=0.1,0.9": ["has several values"],
    "prompt.task=a, {subject}": ["cannot be read", "\"prompt.task='a, {subject}'\""],
    "~objective.lam": ["cannot be taken out"],
    "name=${nope}": ["name: ", "'nope'"],
    "data.facts=": ["data.facts is not set"],
    # values out of range
    "exploration.n_samples=0": ["exploration.n_samples=0: must be at least 1"],
    "exploration.correct_replay=maybe": ["exploration.correct_replay=maybe: must be true or false"],
    "optimizer.lr=nan": ["optimizer.lr=nan"],
    "judge.label_order=[a,b,c]": ["judge.label_order="],
}


@pytest.mark.parametrize(("override", "parts"), BAD.items(), ids=list(BAD))
def test_a_bad_override_gets_one_line(contraflow: Call, override: str, parts: list[str]) -> None:
    assert_one_error(contraflow("config", override), *parts)


# Composing takes a tenth of a second, so that these are given to the dataclasses, which check them.
OUT_OF_RANGE: list[tuple[str, Any, list[str]]] = [
    ("objective.lam", -1.0, ["objective.lam=-1", "must be above 0"]),
    ("objective.penalty", "cosh", ["objective.penalty=cosh", "huber, linex, shifted_cosh"]),
    ("objective.penalty", "huber", ["objective.bound=None: must be set with huber"]),
    ("objective.alpha", 0.0, ["objective.alpha=0.0: must be above 0"]),
    ("objective.forward_kl", 1.5, ["objective.forward_kl=1.5: must be from 0 to 1"]),
    ("objective.forward_kl_end", -1.0, ["objective.forward_kl_end=-1.0: must be from 0 to 1"]),
    (
        "objective.forward_kl_power",
        0.0,
        ["objective.forward_kl_power=0.0", "above 0 and at most 1"],
    ),
    ("objective.forward_kl_horizon", -1, ["objective.forward_kl_horizon=-1: must be 0 or more"]),
    ("objective.beta", -1.0, ["objective.beta=-1.0: must be 0 or more"]),
    (
        "exploration.distinct_weights",
        "none",
        ["distinct_weights=none", "inclusion, normalized, equal"],
    ),
    (
        "exploration.prior_share",
        1.0,
        ["exploration.prior_share=1.0: must be at least 0 and below 1"],
    ),
    ("exploration.prior_share", 0.01, ["exploration.prior_share=0.01", "both P_F and the prior"]),
    (
        "policy.min_question_len",
        30,
        ["policy.max_question_len=18: must be at least min_question_len=30"],
    ),
    ("exploration.pf_temp_low", 9.0, ["exploration.pf_temp_low=9", "pf_temp_high=1.5"]),
    ("optimizer.lr", math.inf, ["optimizer.lr=inf: must be a finite number"]),
    (
        "reward.contradiction_threshold",
        math.nan,
        ["reward.contradiction_threshold=nan: must be a finite number"],
    ),
    ("replay.capacity_per_fact", 0, ["replay.capacity_per_fact=0"]),
    ("replay.sampling", "best", ["replay.sampling=best", "newest"]),
    ("replay.near_duplicate", 2.0, ["replay.near_duplicate=2"]),
    ("replay.near_duplicate_by", "sound", ["replay.near_duplicate_by=sound", "embedding"]),
    ("replay.sampling_temp", 0.0, ["replay.sampling_temp=0"]),
    ("replay.patience_s", -1.0, ["replay.patience_s=-1"]),
    ("model.device", "gpu", ["model.device=gpu: must be auto, cpu, cuda or cuda:N"]),
    ("model.device", "mps", ["model.device=mps: must be auto, cpu", "cpu works there"]),
    ("trainer.n_steps", 0, ["trainer.n_steps=0"]),
    ("evaluation.temperature", 0.0, ["evaluation.temperature=0"]),
]


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    OUT_OF_RANGE,
    ids=[f"{key}={value}" for key, value, _ in OUT_OF_RANGE],
)
def test_a_value_out_of_range_is_refused(key: str, value: Any, parts: list[str]) -> None:
    section, name = key.split(".")
    usual = Config()
    with pytest.raises(UserError) as refused:
        replace(usual, **{section: replace(getattr(usual, section), **{name: value})})
    assert "\n" not in str(refused.value)
    for part in parts:
        assert part in str(refused.value)


def test_one_question_is_refused_where_they_are_compared(contraflow: Call) -> None:
    """Their loss compares the questions of a fact, so that of a single one is 0."""
    for name in ("vargrad", "ctb", "rloo", "grpo"):
        result = contraflow("config", f"objective={name}", "exploration.n_samples=1")
        parts = ["exploration.n_samples=1: must be at least 2", f"objective.name={name}"]
        assert_one_error(result, *parts)
        assert compose_config([f"objective={name}", "exploration.n_samples=2"]).exploration
    for name in ("subtb", "tb", "db", "modified_subtb"):
        compose_config([f"objective={name}", "exploration.n_samples=1"])


def test_the_forward_kl_compares_questions_too(contraflow: Call) -> None:
    one = ["objective=tb", "exploration.n_samples=1"]
    compose_config(one)
    result = contraflow("config", *one, "objective.forward_kl_end=0.5")
    assert_one_error(result, "exploration.n_samples=1: must be at least 2", "objective.forward_kl")


def test_the_newest_cannot_be_weighted(contraflow: Call) -> None:
    """Each draw is certain or impossible: no weight makes it a mean over the store."""
    newest = ("exploration.correct_replay=true", "replay.sampling=newest")
    assert_one_error(contraflow("config", *newest), "replay.sampling=newest: must be uniform, rank")


@pytest.mark.parametrize(
    ("with_it", "reason"),
    [
        (["objective=rloo"], "0 with objective.name=rloo"),
        (["objective.forward_kl=0.5"], "0 with objective.forward_kl"),
        (["exchange=actors", "replay=embedded"], "exchange.newest_share"),
    ],
)
def test_stored_questions_are_refused_where_they_have_no_place(
    contraflow: Call, with_it: list[str], reason: str
) -> None:
    asked = ["config", "experiment=quickstart", "exploration.n_stored=4", *with_it]
    assert_one_error(contraflow(*asked), "exploration.n_stored=4", reason)


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_policy_gradients_refuse_what_they_cannot_use(contraflow: Call, name: str) -> None:
    """They have no residuals, and learn from draws of the current policy only."""
    for setting in ("objective.penalty=linex", "objective.bound=2", "exploration.prior_share=0.5"):
        assert_one_error(contraflow("config", f"objective={name}", setting), setting.split("=")[0])
    assert compose_config(["experiment=quickstart", f"objective={name}"]).objective.name == name


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


def own_experiment(folder: Path, name: str, text: str) -> Path:
    (folder / "experiment").mkdir(parents=True, exist_ok=True)
    (folder / "experiment" / f"{name}.yaml").write_text(text)
    return folder


def test_groups_of_your_own(contraflow: Call, tmp_path: Path) -> None:
    folder = own_experiment(
        tmp_path / "it's mine",
        "mine",
        "# @package _global_\ndefaults:\n  - override /objective: tb\nname: mine\n",
    )
    for option in (["--config-dir", str(folder)], [f"--config-dir={folder}"]):
        result = contraflow("config", *option, "experiment=mine")
        assert result.code == 0, result.err
        assert yaml.safe_load(result.out)["objective"]["name"] == "tb"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "trainer:\n  n_steps: many\n",
            ["experiment/mine.yaml: trainer.n_steps: must be a whole number"],
        ),
        (
            "trainer:\n  n_stepz: 3\n",
            ["experiment/mine.yaml: trainer.n_stepz: unknown key", "trainer.n_steps"],
        ),
        ("trainer:\n  n_steps: -3\n", ["trainer.n_steps=-3: must be at least 1"]),
        ("trainer: [3\n", ["not valid YAML", "mine.yaml"]),
        ("defaults:\n  - override /objective: nope\n", ["objective=nope: no such choice"]),
        ("name: 1.10\n", ["mine.yaml:2: name: 1.10 is read as 1.1; write it in quotes: '1.10'"]),
        ("seed: 1\nname: 1e3\n", ["mine.yaml:3: name: 1e3 is read as 1000.0", "'1e3'"]),
        ("name: 2024_11_26\n", ["mine.yaml:2: name: 2024_11_26 is read as 20241126"]),
        ("name: on\n", ["mine.yaml:2: name: on is read as True"]),
        ("model:\n  name: 1.50\n", ["mine.yaml:3: model.name: 1.50 is read as 1.5"]),
        (
            "model:\n  lora:\n    target_modules:\n      - q\n      - 1.0_0\n",
            ["mine.yaml:6: model.lora.target_modules: 1.0_0 is read as 1.0"],
        ),
    ],
)
def test_a_bad_file_of_your_own_is_named(
    contraflow: Call, tmp_path: Path, text: str, parts: list[str]
) -> None:
    folder = own_experiment(tmp_path / "own", "mine", f"# @package _global_\n{text}")
    assert_one_error(contraflow("config", "--config-dir", str(folder), "experiment=mine"), *parts)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("'1.10'", "1.10"),
        ('"1e3"', "1e3"),
        ("1.5", "1.5"),
        ("7", "7"),
        ("v1.10", "v1.10"),
        ("mine # 1.10", "mine"),
        ("|-\n  1.10", "1.10"),
    ],
)
def test_a_text_of_your_own_file_stays(tmp_path: Path, written: str, name: str) -> None:
    text = f"# @package _global_\nname: {written}\nreplay:\n  url: null\nseed: 1_0\n"
    config = compose_config(["experiment=mine"], own_experiment(tmp_path, "mine", text))
    assert (config.name, config.replay.url, config.seed) == (name, None, 10)


def test_a_number_in_a_group_of_your_own_is_found(tmp_path: Path) -> None:
    """Without `# @package` the keys of a file are those of its group."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "own.yaml").write_text("dtype: auto\nname: 2_0\n")
    with pytest.raises(UserError, match=r"own.yaml:2: model.name: 2_0 is read as 20"):
        compose_config(["model=own"], tmp_path)


def test_a_config_dir_that_is_not_there(contraflow: Call) -> None:
    assert_one_error(
        contraflow("config", "--config-dir", "nope"), "--config-dir nope: no such folder"
    )
    assert_one_error(contraflow("config", "--config-dir"), "--config-dir needs a folder")


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
