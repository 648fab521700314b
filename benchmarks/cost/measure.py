"""Measures points: each in a process of its own with one thread, on the package's own parts."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks.clock import Clock
from benchmarks.cost.points import FITTED, HELD_OUT, PACKAGED, PHASES, Sizes
from benchmarks.cpu.steps import Ours
from contraflow import compose_config, default_facts
from contraflow.facts import split_facts
from contraflow.models.weights.resolve import resolve_model
from contraflow.seeding import python_rng
from contraflow.system.memory import peak_memory

TIMED_STEPS = 2


@dataclass(frozen=True)
class Shape:
    """Shape of a Llama whose head is its embedding."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int


SHAPES = {
    30e6: Shape(12, 320, 864, 5, 5),
    60e6: Shape(16, 448, 1200, 7, 7),
    360e6: Shape(32, 960, 2560, 15, 5),
}


def measure_one(sizes: Sizes, folder: str) -> None:
    """Print seconds by phase of each timed step, and the peak memory of this process, as JSON.

    Args:
        folder: of the model; empty for the packaged one.
    """
    torch.set_num_threads(1)
    overrides = [
        "experiment=quickstart",
        f"policy.min_question_len={sizes.length}",
        f"policy.max_question_len={sizes.length}",
        f"oracle.max_answer_tokens={sizes.answer}",
        f"exploration.n_samples={sizes.n}",
    ]
    if folder:
        overrides.append(f"model.name={folder}")
    ours: Any = Ours(compose_config(overrides))
    ours.oracle._ends = ours.oracle._ends[:0]  # no token ends an answer
    facts = list(split_facts(list(default_facts())).train)
    python_rng("cost").shuffle(facts)
    cpu = torch.device("cpu")
    ours.step(facts[:1], 0, Clock(cpu))  # a small step is enough to warm up
    steps = []
    wall = time.perf_counter()
    for number in range(TIMED_STEPS):
        # CPU time: with one thread it is the wall time of an idle core, also on a shared one.
        clock = Clock(cpu, time.process_time)
        some = facts[1 + number * sizes.facts :][: sizes.facts]
        started = time.process_time()
        ours.step(some, 1 + number, clock)
        whole = time.process_time() - started
        seconds = {phase: clock.total(phase) for phase in PHASES}
        steps.append(seconds | {"rest": whole - sum(seconds.values())})
    wall = (time.perf_counter() - wall) / TIMED_STEPS
    print(json.dumps({"steps": steps, "wall": wall, "mib": peak_memory() / 2**20}))


def save_random(shape: Shape, folder: Path) -> None:
    """Save a random model of this shape, with the packaged model's tokenizer and vocabulary."""
    tokenizer = AutoTokenizer.from_pretrained(
        resolve_model("packaged:smollm2-135m-instruct", "sampler")
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure_all(out: Path, rounds: Sequence[int]) -> None:
    """Measure every point once per round, odd rounds in reverse order.

    Each measurement is written to ``out`` at once, and one that is already there is skipped, so a
    stopped run continues.
    """
    found = json.loads(out.read_text()) if out.is_file() else {"points": []}
    found["environment"] = environment()
    done = {(Sizes(**p["sizes"]), p["round"]) for p in found["points"]}
    points = [*FITTED, *HELD_OUT]
    turns = []
    for number in rounds:
        turns += [(sizes, number) for sizes in (points[::-1] if number % 2 else points)]
    with tempfile.TemporaryDirectory() as scratch:
        for sizes, number in turns:
            if (sizes, number) in done:
                continue
            words = [json.dumps(asdict(sizes)), _folder(sizes, Path(scratch))]
            command = [sys.executable, "-m", "benchmarks.cost.measure", *words]
            printed = subprocess.check_output(command, text=True)
            point = _rounded(json.loads(printed.splitlines()[-1]))
            found["points"].append({"sizes": asdict(sizes), "round": number, **point})
            out.write_text(json.dumps(found, indent=1) + "\n")
            took = f"{sum(point['steps'][0].values()):.2f} s, {point['wall']:.2f} by the wall"
            print(f"{sizes}: {took}, {point['mib']:.0f} MiB", file=sys.stderr, flush=True)


def _folder(sizes: Sizes, scratch: Path) -> str:
    """Folder of the model of this size, saved there at first use; empty for the packaged one."""
    if sizes.params == PACKAGED:
        return ""
    folder = scratch / f"{sizes.params:.0f}"
    if not folder.is_dir():
        save_random(SHAPES[sizes.params], folder)
    return str(folder)


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    steps = []
    for step in found["steps"]:
        steps.append({phase: round(seconds, 4) for phase, seconds in step.items()})
    return {"steps": steps, "wall": round(found["wall"], 3), "mib": round(found["mib"], 1)}


def environment() -> str:
    """The processor and the versions that the numbers were measured with."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.machine()}, one thread; torch {torch.__version__}, "
        f"transformers {transformers.__version__}, Python {platform.python_version()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=json.loads, help="as JSON")
    parser.add_argument("folder", help="of the model; empty for the packaged one")
    args = parser.parse_args()
    measure_one(Sizes(**args.sizes), args.folder)


if __name__ == "__main__":
    main()
