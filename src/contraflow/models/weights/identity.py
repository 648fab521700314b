"""The identity of a model on disk: a hash of its content, the same on every machine.

Everything that a reward depends on is keyed by it: replay namespaces, caches, resumed answers. A
knowledge edit (ROME, MEMIT, a merged adapter) changes weights and nothing else, so file names and
sizes do not identify a model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from contraflow.models.weights.packaged import cache_dir
from contraflow.system.files import write_atomically

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
)
# What a library writes about itself, not about the model.
NOT_CONTENT = ("transformers_version", "_name_or_path", "torch_dtype", "dtype")
# Smaller files are hashed every time.
_CACHED_FROM_BYTES = 1 << 20
_MAX_CACHED = 256


def model_identity(folder: Path, *, dtype: str, quantize: str | None = None) -> str:
    """Return 16 hex digits that depend on weights, configs, tokenizer files and dtype.

    A quantized model has the scheme appended: ``0123456789abcdef-4bit``.
    """
    digest = hashlib.sha256(dtype.encode())
    for name in ("config.json", "generation_config.json"):
        digest.update(_config_digest(folder / name))
    for file in _content_files(folder):
        digest.update(f"{file.name}\0{file_digest(file)}\0".encode())
    return digest.hexdigest()[:16] + ("" if quantize is None else f"-{quantize}")


def legacy_identity(folder: Path, quantize: str | None = None) -> str:
    """The identity of older run folders: a hash of the config and the sizes of weight files."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    digest.update(str(sorted(p.stat().st_size for p in folder.glob("*.safetensors"))).encode())
    return digest.hexdigest()[:16] + ("" if quantize is None else f"-{quantize}")


def file_digest(file: Path) -> str:
    """SHA-256 of a file, cached by its path, size, modification time and inode."""
    status = file.stat()
    if status.st_size < _CACHED_FROM_BYTES:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    path = str(file.resolve())
    key = [status.st_size, status.st_mtime_ns, status.st_ino]
    cache = _read_cache()
    cached = cache.get(path)
    if isinstance(cached, list) and cached[:-1] == key:
        return str(cached[-1])
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    cache.pop(path, None)
    cache[path] = [*key, digest]
    _write_cache(cache)
    return digest


def _content_files(folder: Path) -> Iterator[Path]:
    """Weights, then tokenizer files, each in the order of their names."""
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    yield from weights
    for name in _TOKENIZER_FILES:
        if (folder / name).is_file():
            yield folder / name


def _config_digest(file: Path) -> bytes:
    if not file.is_file():
        return b"none"
    content = file.read_bytes()
    with suppress(ValueError):
        config: Any = json.loads(content)
        if isinstance(config, dict):
            kept = {key: value for key, value in config.items() if key not in NOT_CONTENT}
            content = json.dumps(kept, sort_keys=True).encode()
    return hashlib.sha256(content).digest()


def _cache_file() -> Path:
    return cache_dir() / "digests.json"


def _read_cache() -> dict[str, Any]:
    try:
        cache = json.loads(_cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cache if isinstance(cache, dict) else {}


def _write_cache(cache: dict[str, Any]) -> None:
    # Without a writable cache folder the files are hashed at every start, which is only slower.
    newest = dict(list(cache.items())[-_MAX_CACHED:])
    with suppress(Exception):
        write_atomically(_cache_file(), json.dumps(newest).encode())
