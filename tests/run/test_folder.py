"""What a run folder records of the run itself."""

from __future__ import annotations

import json
import subprocess
import sys
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
