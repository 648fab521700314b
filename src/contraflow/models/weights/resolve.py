"""Resolve a model's name in a config to a folder of weights."""

from __future__ import annotations

from pathlib import Path

from contraflow.errors import UserError
from contraflow.models.weights.packaged import PACKAGES, packaged_folder

PACKAGED_DEFAULT = "the packaged default (model=smollm2 judge=minilm) needs no hub"


def resolve_model(name: str, kind: str) -> Path:
    """Return the local folder of ``packaged:NAME``, of a path, or of a hub name.

    A hub model is downloaded unless it is in the hub cache.

    Args:
        kind: the model's role ("sampler", "oracle", "judge"), named in errors.
    Raises: UserError when there is no such model or the hub cannot be reached.
    """
    if name.startswith("packaged:"):
        return _packaged(name.removeprefix("packaged:"), kind)
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise UserError(
            f"{kind} {name}: the folder has no config.json; give a folder made by save_pretrained"
        )
    if folder.is_file():
        raise UserError(
            f"{kind} {name}: is a file; give the folder of a model or of an adapter, or a delta, "
            "*.safetensors"
        )
    return _from_hub(name, kind)


def _packaged(name: str, kind: str) -> Path:
    if name not in PACKAGES:
        known = ", ".join(f"packaged:{p}" for p in PACKAGES)
        raise UserError(f"{kind} packaged:{name}: no such packaged model; there are {known}")
    return packaged_folder(name)


def _from_hub(name: str, kind: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(name, local_files_only=True, allow_patterns=wanted))
    except Exception:
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, etag_timeout=5))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{kind} {name}: no such folder, and the hub did not give it ({reason[:120]}); check "
            f"the name, or connect and run `contraflow models download`; {PACKAGED_DEFAULT}"
        ) from error
