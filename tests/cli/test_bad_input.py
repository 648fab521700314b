"""Bad words and places are known early: one line that names the remedy, exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.cli import Result, assert_one_error

Call = Callable[..., Result]
Write = Callable[[str, Any], Path]
# Not even root can write there.
NOWHERE = "/proc/nowhere/x" if Path("/proc").is_dir() else "/dev/null/x"


def test_unknown_arguments_are_answered_with_the_known_ones(
    contraflow: Call, facts_file: Path
) -> None:
    ask = ("generate", "run=untrained", f"facts={facts_file}")
    assert_one_error(
        contraflow(*ask, "temprature=2"), "'temprature'", "did you mean temperature?", "edit_fact"
    )
    assert_one_error(contraflow(*ask, "model.nme=x"), "'model.nme'", "model.name")
    assert_one_error(
        contraflow("report", "runs=x"), "'runs'", "did you mean run?", "report takes run"
    )
    assert_one_error(contraflow("data", "convert", "input=x"), "'input'", "columns.FIELD")
    assert_one_error(contraflow("models", "list", "all=1"), "'all'", "no arguments")
    assert_one_error(contraflow(*ask, "--n", "3"), "without dashes: n=…")
    assert_one_error(contraflow("train", "-m"), "unknown option -m", "train --help")
    assert_one_error(contraflow(*ask, "n=2", "n=3"), "n= is given twice")


@pytest.mark.parametrize("word", ["n=", "out= ", "facts="])
def test_an_empty_argument_is_not_its_default(contraflow: Call, word: str) -> None:
    """As `n=$N` is where the shell has no N: eight questions were drawn without a word."""
    key = word.strip()
    assert_one_error(contraflow("generate", "run=r", word), f"{key} is empty", "leave it out")


def test_required_arguments_are_asked_for_with_an_example(contraflow: Call) -> None:
    assert_one_error(
        contraflow("generate"), "generate needs run=FOLDER", "contraflow generate run=runs/"
    )
    assert_one_error(contraflow("evaluate", "run=untrained"), "needs facts=FILE")
    assert_one_error(contraflow("evaluate", "run=", "facts=x"), "needs run=FOLDER")
    assert_one_error(contraflow("judge"), "needs pairs=FILE")
    assert_one_error(
        contraflow("generate", "run=untrained"), "facts=FILE, or both subject=… and edit_fact=…"
    )
    assert_one_error(
        contraflow("generate", "run=untrained", "subject=Rome"), "both subject=… and edit_fact=…"
    )


@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_numbers_of_sampling(contraflow: Call, facts_file: Path, command: str) -> None:
    ask = (command, "run=untrained", f"facts={facts_file}")
    assert_one_error(contraflow(*ask, "n=0"), "n=0: must be at least 1")
    assert_one_error(contraflow(*ask, "n=few"), "n=few: must be a whole number")
    assert_one_error(contraflow(*ask, "temperature=0"), "temperature=0: must be a number above 0")
    assert_one_error(contraflow(*ask, "temperature=nan"), "temperature=nan")
    assert_one_error(contraflow(*ask, "seed=-1"), "seed=-1: must be at least 0")


def test_a_run_folder_that_is_not_one(contraflow: Call, facts_file: Path, tmp_path: Path) -> None:
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "config.yaml").write_text("name: started\n")
    for command in ("generate", "evaluate"):
        ask = (command, f"facts={facts_file}")
        assert_one_error(
            contraflow(*ask, "run=nope"), "run=nope: no such run folder", "run=untrained"
        )
        assert_one_error(contraflow(*ask, "run=."), "run=.: not a run folder", "contraflow train")
        assert_one_error(contraflow(*ask, "run=started"), "run=started: has no trained adapter yet")
    assert_one_error(contraflow("report", "run=nope"), "run=nope: no such run folder")
    assert_one_error(contraflow("report", "run=."), "run=.: not a run folder")


def test_a_trained_run_keeps_its_settings(
    contraflow: Call, facts_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "done" / "adapter").mkdir(parents=True)
    (tmp_path / "done" / "config.yaml").write_text("name: done\n")
    (tmp_path / "done" / "adapter" / "adapter_model.safetensors").touch()
    result = contraflow("generate", "run=done", f"facts={facts_file}", "model=gpt2")
    assert_one_error(result, "model=gpt2", "only run=untrained takes others")


def test_a_time_in_another_form(contraflow: Call) -> None:
    assert_one_error(
        contraflow("train", "trainer.max_time=12:30:00"), "trainer.max_time=12:30:00", "1h30m"
    )
    assert_one_error(
        contraflow("train", "trainer.best_by=loss"), "trainer.best_by=loss", "val_elbo"
    )
    assert "max_time: 12h30m" in contraflow("config", "trainer.max_time=12h30m").out


def test_prompts_without_a_placeholder(contraflow: Call) -> None:
    assert_one_error(contraflow("train", "prompt.task=Ask me something"), "prompt.task", "subject")
    assert_one_error(contraflow("train", "prompt.answer='{answer}'"), "prompt.answer", "question")


@pytest.mark.usefixtures("facts_file")
@pytest.mark.parametrize(
    "words",
    [
        ("train", f"run_dir={NOWHERE}"),
        ("generate", "run=untrained", "facts=facts.jsonl", f"out={NOWHERE}"),
        ("evaluate", "run=untrained", "facts=facts.jsonl", f"out={NOWHERE}"),
        ("judge", "pairs=pairs.jsonl", f"out={NOWHERE}"),
        ("data", "convert", "in=facts.jsonl", f"out={NOWHERE}"),
        ("data", "filter-known", "facts=facts.jsonl", f"out={NOWHERE}"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_place_that_cannot_be_written(
    contraflow: Call, write: Write, words: tuple[str, ...]
) -> None:
    write("pairs.jsonl", [{"premise": "It rains.", "hypothesis": "It is dry."}])
    assert_one_error(contraflow(*words), f"{NOWHERE}: cannot be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write to a read-only folder")
def test_a_read_only_folder(contraflow: Call, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    result = contraflow("train", f"run_dir={locked / 'run'}")
    assert_one_error(result, f"run_dir={locked / 'run'}", "permission denied", "another run_dir=…")


def test_a_full_disk_is_found_before_the_models_load(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, dir: Path) -> None:
            self.place = dir

        def __enter__(self) -> Full:
            raise OSError(28, "No space left on device")

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    assert_one_error(
        contraflow("train", "run_dir=there"), "run_dir=there", "no space left on device"
    )


def test_an_out_file_that_is_a_folder(contraflow: Call, facts_file: Path) -> None:
    result = contraflow("generate", "run=untrained", f"facts={facts_file}", "out=.")
    assert_one_error(result, "out=.: is a folder")


def test_early_errors_come_before_torch(tmp_path: Path, facts_file: Path) -> None:
    """Checked in a separate process, because this one may have imported torch."""
    calls = [
        ["train", "data.facts=nope.jsonl"],
        ["train", "objective.lam=-1"],
        ["train", f"run_dir={NOWHERE}"],
        ["train", "prompt.task=nothing"],
        ["train", "model.name=packaged:nope"],
        ["generate", "run=nope", f"facts={facts_file}"],
        ["evaluate", "run=untrained", f"facts={facts_file}", f"out={NOWHERE}"],
        ["judge", "pairs=nope.jsonl"],
        ["data", "convert", "in=nope.csv", "out=x.jsonl"],
    ]
    code = f"""
import sys
from contraflow.cli import main
for words in {calls!r}:
    assert main(words) == 2, words
print(sorted({{"torch", "transformers", "lightning", "wandb", "redis"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert len(done.stderr.splitlines()) == len(calls)


def test_what_the_shell_sees(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "contraflow.cli", "train", "objective.lam=-1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_error(Result(done.returncode, done.stdout, done.stderr), "objective.lam=-1")
    assert list(tmp_path.iterdir()) == []
