"""What a run folder records of the run itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import contraflow
from contraflow.errors import UserError
from contraflow.run.folder import open_folder, read_settings, record_cost
from contraflow.system.versions import versions_of
from support.runs import tiny_config

RECORD = """
import sys
sys.path[:0] = {paths}
import json
from importlib.metadata import PackageNotFoundError, version
try:
    version("contraflow")
except PackageNotFoundError:
    from contraflow.system.versions import versions_of
    print(json.dumps(versions_of(["contraflow", "torch", "no-such-package"])))
"""


def test_a_source_tree_without_metadata_has_a_version(tmp_path: Path):
    """All installed packages but contraflow's own metadata."""
    found = Path(torch.__file__).parents[1]
    for path in found.iterdir():
        if "contraflow" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    source = str(Path(contraflow.__file__).parents[1])
    # A link, because the source tree may hold metadata of its own.
    (tmp_path / "contraflow").symlink_to(Path(source) / "contraflow")
    code = RECORD.format(paths=[str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    versions = json.loads(done.stdout)
    assert versions["contraflow"] == contraflow.__version__
    assert versions["torch"] == versions_of(["torch"])["torch"] != "unknown"
    assert versions["no-such-package"] == "unknown"


def test_settings_cut_between_any_lines_are_refused(tmp_path: Path):
    """Such a file is YAML still, and what it lacks would silently become a default."""
    folder = open_folder(tiny_config(tmp_path, "x"))
    path = folder / "config.yaml"
    whole = path.read_text()
    assert read_settings(path, "copy it again").name == "x"
    lines = whole.splitlines(keepends=True)
    for n in range(len(lines)):
        path.write_text("".join(lines[:n]))
        with pytest.raises(UserError, match=r"was cut or damaged .*; copy it again"):
            read_settings(path, "copy it again")


def test_settings_of_older_versions_have_no_last_line(tmp_path: Path):
    path = open_folder(tiny_config(tmp_path, "x")) / "config.yaml"
    older = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    path.write_text("\n".join(older) + "\n")
    assert read_settings(path, "copy it again").name == "x"


def test_costs_are_recorded_of_a_history_without_durations(tmp_path: Path):
    folder = open_folder(tiny_config(tmp_path))
    (folder / "history.jsonl").write_text('{"step": 0}\n{"step": 1, "step_seconds": 2.5}\n{"st')
    record_cost(folder, 60.0)
    record_cost(folder, 30.0)
    run = json.loads((folder / "run.json").read_text())
    assert run["n_steps"] == 2
    assert run["step_seconds_median"] == 2.5
    assert run["wall_seconds"] == 90.0


def test_a_users_own_files_outlast_changed_settings(tmp_path: Path):
    """Only what a run itself chose and measured is made again."""
    config = tiny_config(tmp_path, "x")
    folder = open_folder(config)
    own = [
        folder / "my_facts.jsonl",
        folder / "known_facts.jsonl",
        folder / "evaluation" / "mine.json",
        folder / "evaluation" / "my_questions.jsonl",
    ]
    chosen = [
        folder / "train_facts.jsonl",
        folder / "validation_facts.jsonl",
        folder / "test_facts.jsonl",
        folder / "evaluation" / "before.json",
        folder / "evaluation" / "before_questions.jsonl",
        folder / "evaluation" / "target.json",
        folder / "evaluation" / "target_questions.jsonl",
    ]
    for path in (*own, *chosen):
        path.write_text("{}\n")
    open_folder(replace(config, seed=config.seed + 1))
    assert [path for path in own if not path.is_file()] == []
    assert [path for path in chosen if path.exists()] == []


@pytest.mark.parametrize("name", ["train_facts.jsonl", "evaluation/before_questions.jsonl"])
def test_facts_that_the_run_would_overwrite_are_refused(tmp_path: Path, name: str):
    first = tiny_config(tmp_path, "x")
    path = open_folder(first) / name
    path.write_text("{}\n")
    data = replace(first.data, facts=str(path))
    with pytest.raises(UserError, match=rf"data\.facts=.*{name}: .*copy"):
        open_folder(replace(first, data=data, seed=first.seed + 1))
    assert path.is_file()


@pytest.mark.parametrize(
    "name", ["config.yaml", "report.html", "train_facts.jsonl", "adapter", "history.jsonl"]
)
def test_a_new_run_refuses_a_folder_with_files_of_its_names(tmp_path: Path, name: str):
    """They are somebody's own, as there was no run in this folder."""
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / name).write_text("mine: true\n")
    with pytest.raises(UserError, match=rf"run_dir={folder}: .*{name}.*run_dir="):
        open_folder(tiny_config(tmp_path, "x"))
    assert (folder / name).read_text() == "mine: true\n"
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_new_run_refuses_the_folder_of_an_audit(tmp_path: Path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "audit.json").write_text("{}")
    with pytest.raises(UserError, match=rf"run_dir={folder}: is the folder of an audit"):
        open_folder(tiny_config(tmp_path, "x"))


def test_a_run_whose_settings_were_removed_goes_on(tmp_path: Path):
    folder = open_folder(tiny_config(tmp_path, "x"))
    (folder / "train_facts.jsonl").write_text("{}\n")
    (folder / "config.yaml").unlink()
    assert open_folder(tiny_config(tmp_path, "x")) == folder
    assert (folder / "train_facts.jsonl").is_file()


@pytest.mark.parametrize(
    ("n", "counted"), [(1, "1 setting differs"), (3, "3 settings differ"), (5, "5 settings differ")]
)
def test_a_resumed_run_names_the_settings_that_differ(tmp_path: Path, n: int, counted: str):
    """The first three of them."""
    keys = ["n_samples", "pf_temp_prob", "pf_temp_low", "pf_temp_high", "use_buffer_prob"]
    config = tiny_config(tmp_path, "x")
    (open_folder(config) / "checkpoints" / "last.ckpt").touch()
    changed = dict.fromkeys(keys[:n], 0.375) | {"n_samples": 9}
    exploration = replace(config.exploration, **changed)
    with pytest.raises(UserError) as refused:
        open_folder(replace(config, exploration=exploration))
    message = str(refused.value)
    assert counted in message
    assert [f"exploration.{key}=" in message for key in keys] == [i < min(n, 3) for i in range(5)]
