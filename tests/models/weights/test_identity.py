"""The identity of a model is that of its content."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from contraflow.models.weights import identity
from contraflow.models.weights.identity import file_digest, legacy_identity, model_identity
from support.models import save_tiny_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny_model("llama", tmp_path / "model")


def edited_in_place(folder: Path) -> None:
    """Make a rank-one edit of one projection, as ROME does: same shapes, same file size."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "down_proj" in name)
    rows, columns = weights[name].shape
    weights[name] = weights[name] + torch.outer(torch.ones(rows), torch.ones(columns)) * 1e-3
    size = file.stat().st_size
    save_file(weights, file, metadata={"format": "pt"})
    assert file.stat().st_size == size


def test_an_edit_in_place_is_another_model(model: Path):
    before, old_way = model_identity(model, dtype="float32"), legacy_identity(model)
    edited_in_place(model)
    assert model_identity(model, dtype="float32") != before
    assert legacy_identity(model) == old_way, "which is why sizes do not identify a model"


def test_a_copy_elsewhere_is_the_same_model(model: Path, tmp_path: Path):
    shutil.copytree(model, tmp_path / "copy")
    config = tmp_path / "copy" / "config.json"
    read = json.loads(config.read_text())
    config.write_text(json.dumps(read | {"transformers_version": "9", "_name_or_path": "x"}))
    assert model_identity(tmp_path / "copy", dtype="float32") == model_identity(
        model, dtype="float32"
    )


def test_dtype_quantization_and_tokenizer_count(model: Path):
    names = {model_identity(model, dtype="float32"), model_identity(model, dtype="bfloat16")}
    names.add(model_identity(model, dtype="float32", quantize="4bit"))
    tokenizer = model / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"hamlet"', '"macbeth"'))
    names.add(model_identity(model, dtype="float32"))
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2]}))
    names.add(model_identity(model, dtype="float32"))
    assert len(names) == 5


def test_a_digest_is_cached_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identity, "_CACHED_FROM_BYTES", 0)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"a" * 100)
    first = file_digest(file)
    cached = json.loads((tmp_path / "cache" / "digests.json").read_text())
    assert cached[str(file.resolve())][-1] == first
    cached[str(file.resolve())][-1] = "from the cache"
    (tmp_path / "cache" / "digests.json").write_text(json.dumps(cached))
    assert file_digest(file) == "from the cache"
    file.write_bytes(b"b" * 100)  # the same size, another time of modification
    os.utime(file, ns=(1, 1))
    assert file_digest(file) not in (first, "from the cache")
    (tmp_path / "cache" / "digests.json").write_text("not json")
    assert file_digest(file) not in (first, "from the cache")


def test_a_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(identity, "_CACHED_FROM_BYTES", 0)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "file"))
    (tmp_path / "w").write_bytes(b"a")
    assert file_digest(tmp_path / "w") == file_digest(tmp_path / "w")
