"""Pack a trained run as the sampler that ships with the package: `run=shipped`.

    python data_sources/pack_sampler.py runs/shipped

Keeps the adapter in half precision and the settings that sampling needs; writes
src/contraflow/assets/sampler. recipes/shipped_sampler.sh trains the run first.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

TARGET = Path(__file__).parents[1] / "src" / "contraflow" / "assets" / "sampler"
WEIGHTS = ("adapter_model.safetensors", "flow_head.safetensors")
COPIED = ("adapter_config.json", "flow_head.json", "sampler.json", "README.md")
MAX_BYTES = 6_000_000


def pack(run: Path, target: Path) -> int:
    """Write the folder and return its size in bytes. Raises: ValueError above `MAX_BYTES`."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "adapter").mkdir(parents=True)
    for name in WEIGHTS:
        tensors = load_file(run / "adapter" / name)
        halves = {key: tensor.to(torch.float16) for key, tensor in tensors.items()}
        save_file(halves, target / "adapter" / name)
    for name in COPIED:
        shutil.copyfile(run / "adapter" / name, target / "adapter" / name)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["name"] = "shipped"
    config["trainer"]["threads"] = None  # as many as the user's machine has
    (target / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    for file in (target / "adapter").iterdir():
        file.chmod(0o644)  # safetensors writes files that only their owner can read
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    if size > MAX_BYTES:
        raise ValueError(f"{target} has {size} bytes, more than {MAX_BYTES}")
    return size


if __name__ == "__main__":
    print(f"{TARGET}: {pack(Path(sys.argv[1]), TARGET):,} bytes")
