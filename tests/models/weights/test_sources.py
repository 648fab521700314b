"""The forms of a named model, and what is refused before anything loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from contraflow.errors import UserError
from contraflow.models.weights.sources import base_name, check_source, source_of
from support.edits import save_delta, save_tiny_adapter
from support.models import save_tiny_model
from support.processes import child_environment

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    save_tiny_model("llama", tmp_path / "model")
    save_tiny_adapter("llama", tmp_path / "adapter", base=str(tmp_path / "model"))
    (tmp_path / "delta").mkdir()
    save_delta("llama", tmp_path / "delta" / "delta.safetensors")
    return tmp_path


def test_each_form_is_told_by_what_is_there(here: Path):
    names = {
        "model": "model",
        "adapter": "adapter",
        "delta": "delta",
        "delta/delta.safetensors": "delta",
        "nothing": "model",
    }
    for name, form in names.items():
        assert source_of(str(here / name)).form == form
    assert source_of("openai:http://localhost:8000/v1#m").form == "served"
    assert source_of("packaged:smollm2-135m-instruct").form == "model"
    assert source_of(str(here / "delta")).path == here / "delta" / "delta.safetensors"


def test_a_whole_model_with_an_adapters_config_is_a_model(here: Path):
    (here / "model" / "adapter_config.json").write_text("{}")
    assert source_of(str(here / "model")).form == "model"


def test_what_is_good_passes(here: Path):
    for name in ("model", "adapter"):
        assert check_source(str(here / name)).name == str(here / name)
    check_source(str(here / "delta"), has_control=True)


def test_an_adapter_without_its_base_is_refused_in_a_line(here: Path):
    for base in (None, str(here / "gone")):
        folder = save_tiny_adapter("llama", here / f"of-{base is None}", base=base)
        with pytest.raises(
            UserError, match=r"an adapter answers on its base.* as control"
        ) as error:
            check_source(str(folder))
        assert len(str(error.value).splitlines()) == 1
        check_source(str(folder), has_control=True)


def test_a_packaged_base_is_known_by_its_public_name(here: Path):
    """The hub may be out of reach, and the package holds the model."""
    packaged = "packaged:smollm2-135m-instruct"
    public = "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert base_name(public, packaged) == packaged
    assert base_name(public, "gpt2") == public
    folder = str(save_tiny_adapter("llama", here / "public", base=public))
    check_source(folder, model_name=packaged)
    with pytest.raises(UserError, match="which is not there"):
        check_source(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("delta", "a delta replaces tensors of a model; name that model as control"),
        ("empty.safetensors", "holds no tensors; a delta holds the edited ones by name"),
        ("cut.safetensors", "is not a safetensors file, or was cut"),
        ("none.safetensors", "no such file; give a delta.safetensors, or a folder"),
        ("run", "is the folder of a run; its sampler asks and does not answer"),
        ("bare", "the folder has no config.json"),
        ("notes.txt", "is a file; give the folder of a model or of an adapter, or a delta"),
        ("unweighted", "has no adapter_model.safetensors; copy the adapter again"),
        ("scrambled", "adapter_config.json: cannot be read"),
    ],
)
def test_what_cannot_answer_is_refused(here: Path, name: str, message: str):
    save_file({}, here / "empty.safetensors")
    whole = (here / "delta" / "delta.safetensors").read_bytes()
    (here / "cut.safetensors").write_bytes(whole[:-10])
    (here / "bare").mkdir()
    (here / "notes.txt").touch()
    (here / "adapter").rename(here / "run_adapter")
    (here / "run").mkdir()
    (here / "run_adapter").rename(here / "run" / "adapter")
    for folder, config in (("unweighted", {}), ("scrambled", None)):
        (here / folder).mkdir()
        text = json.dumps(config) if config is not None else "{"
        (here / folder / "adapter_config.json").write_text(text)
    save_file({"x": torch.zeros(1)}, here / "scrambled" / "adapter_model.safetensors")
    with pytest.raises(UserError, match=message):
        check_source(str(here / name), has_control=name not in ("delta", "scrambled"))


def test_telling_forms_apart_imports_no_torch():
    """It runs before anything slow, in a process that may only report a wrong name."""
    code = "import sys, contraflow.models.weights.sources; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **child_environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
