"""Groups and experiments in a folder of the user's own, each fault named by its file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from contraflow.errors import UserError
from contraflow.settings.compose import compose_config
from support.cli import Result, assert_one_error

Call = Callable[..., Result]


def test_a_choice_of_your_own_may_look_like_a_number(tmp_path: Path) -> None:
    folder = own_experiment(tmp_path, "2024_11_26", "# @package _global_\nname: mine\n")
    assert compose_config(["experiment=2024_11_26"], folder).name == "mine"


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


HEADER = "write `# @package _global_` as its first line"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"trainer:\n  n_steps: 3\n", f"{HEADER}, so that its keys are settings of the run"),
        (b"", f"{HEADER}, so that its keys are settings of the run"),
        (b"# @package _globl_\nname: mine\n", HEADER),
        (b"- name\n- mine\n", f"has no settings; {HEADER}, and give each as KEY: VALUE"),
        (b"# @package _global_\n- name\n", "has no settings; give each as KEY: VALUE"),
        (b"# @package _global_\nname: \xff\n", "is not UTF-8 ('utf-8' codec can't decode byte"),
    ],
)
def test_a_file_of_another_form_says_what_to_write(
    contraflow: Call, tmp_path: Path, content: bytes, problem: str
) -> None:
    file = own_experiment(tmp_path, "mine", "") / "experiment" / "mine.yaml"
    file.write_bytes(content)
    result = contraflow("config", "--config-dir", str(tmp_path), "experiment=mine")
    assert_one_error(result, f"{file}: {problem}")


@pytest.mark.parametrize("content", ["- name\n", "mine\n"])
def test_a_group_of_your_own_needs_keys(contraflow: Call, tmp_path: Path, content: str) -> None:
    file = tmp_path / "model" / "own.yaml"
    file.parent.mkdir()
    file.write_text(content)
    result = contraflow("config", "--config-dir", str(tmp_path), "model=own")
    assert_one_error(result, f"{file}: has no settings; give each as KEY: VALUE")


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
