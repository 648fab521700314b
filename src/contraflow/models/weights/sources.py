"""The forms in which a model that answers can be named, told apart without loading anything.

| name | what it is |
|---|---|
| packaged:NAME, a folder, a hub name | a causal language model |
| a folder with adapter_config.json | a PEFT adapter on its base |
| FILE.safetensors, or a folder that holds only delta.safetensors | tensors that replace a model's |
| openai:URL#MODEL | a served model |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from contraflow.errors import UserError
from contraflow.models.weights.packaged import public_name
from contraflow.models.weights.resolve import resolve_model

Form = Literal["model", "adapter", "delta", "served"]

SERVED = "openai:"
DELTA_FILE = "delta.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


@dataclass(frozen=True)
class Source:
    """A named model: its form, and its folder or file where it has one already."""

    name: str
    form: Form
    path: Path | None = None


def source_of(name: str) -> Source:
    """Tell the form of a name; a hub name counts as a model until it is there."""
    if name.startswith(SERVED):
        return Source(name, "served")
    path = Path(name).expanduser()
    if path.suffix == ".safetensors":
        return Source(name, "delta", path)
    if is_adapter(path):
        return Source(name, "adapter", path)
    if not (path / "config.json").is_file() and (path / DELTA_FILE).is_file():
        return Source(name, "delta", path / DELTA_FILE)
    return Source(name, "model", path if path.is_dir() else None)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter and no whole model beside it."""
    return (folder / ADAPTER_CONFIG).is_file() and not list(folder.glob("model*.safetensors"))


def base_of(folder: Path) -> str | None:
    """The name of the base that an adapter was trained on. Raises: UserError."""
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_bytes())
        base = config.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder / ADAPTER_CONFIG}: cannot be read ({error}); copy the adapter again"
        ) from None
    return str(base) if base else None


def base_name(base: str, model_name: str) -> str:
    """The base of an adapter, or `model.name` where that is the same under its public name.

    Adapters name `packaged:NAME` by its name on the hub, which may be out of reach.
    """
    same = public_name(model_name) == base and not Path(base).expanduser().is_dir()
    return model_name if same else base


def check_source(
    name: str, kind: str = "oracle", *, has_control: bool = False, model_name: str = ""
) -> Source:
    """Check what can be checked of a named model before any model loads.

    Args:
        kind: the model's role, named in errors.
        has_control: whether a control is named that an adapter or delta can stand on.
        model_name: `model.name`, which may be an adapter's base.
    Raises: UserError for a folder without a model, an adapter without its base or weights, a
        damaged delta, or one without a control.
    """
    source = source_of(name)
    if source.form == "delta":
        _check_delta(source, kind, has_control)
    elif source.form == "adapter":
        _check_adapter(source, kind, has_control, model_name)
    elif source.form == "model" and not name.startswith("packaged:"):
        found = resolve_model(name, kind) if source.path is None else _folder(source, kind)
        return source_of(str(found)) if source.path is None and is_adapter(found) else source
    return source


def _folder(source: Source, kind: str) -> Path:
    assert source.path is not None
    if (source.path / "adapter" / ADAPTER_CONFIG).is_file():
        raise UserError(
            f"{kind} {source.name}: is the folder of a run; its sampler asks and does not answer "
            "(an adapter that answers is named by its own folder, the one with adapter_config.json)"
        )
    return resolve_model(source.name, kind)


def _check_delta(source: Source, kind: str, has_control: bool) -> None:
    assert source.path is not None
    if not source.path.is_file():
        raise UserError(
            f"{kind} {source.name}: no such file; give a delta.safetensors, or a folder"
        )
    check_delta_file(source.path)
    if not has_control:
        raise UserError(
            f"{kind} {source.name}: a delta replaces tensors of a model; name that model as control"
        )


def check_delta_file(file: Path) -> None:
    """Read the header of a delta file. Raises: UserError for one that is damaged or empty."""
    try:
        with safe_open(file, framework="numpy") as tensors:
            if not tensors.keys():
                raise UserError(f"{file}: holds no tensors; a delta holds the edited ones by name")
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"{file}: is not a safetensors file, or was cut ({reason}); write it with "
            "safetensors.torch.save_file({name: tensor}, file)"
        ) from None


def _check_adapter(source: Source, kind: str, has_control: bool, model_name: str) -> None:
    assert source.path is not None
    if not any((source.path / name).is_file() for name in _ADAPTER_WEIGHTS):
        raise UserError(
            f"{kind} {source.name}: has no {_ADAPTER_WEIGHTS[0]}; copy the adapter again, or save "
            "it with save_pretrained"
        )
    base = base_of(source.path)
    if has_control:
        return
    try:
        if base is None:
            raise UserError("it names none")
        if not base_name(base, model_name).startswith("packaged:"):
            resolve_model(base, "base")
    except UserError as error:
        raise UserError(
            f"{kind} {source.name}: an adapter answers on its base, which is not there "
            f"({str(error)[:160]}); put the base there, or name it as control"
        ) from None
