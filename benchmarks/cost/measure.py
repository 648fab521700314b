"""A point of `cost.py`, measured: a process of its own with one thread, on the package's own parts."""

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

from clock import Clock
from contraflow import compose_config, default_facts
from contraflow.facts import split_facts
from contraflow.models.resolve import resolve_model
from contraflow.seeding import python_rng
from contraflow.system.memory import peak_memory
from cost_points import FITTED, HELD_OUT, PACKAGED, PHASES, Sizes
from pipeline import Ours

TIMED_STEPS = 2


@dataclass(frozen=True)
class Shape:
    """A random Llama; its head is its embedding."""

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
    """Seconds by phase of each timed step, and the peak memory of this process."""
    torch.set_num_threads(1)
    lengths = [f"policy.{end}_question_len={sizes.length}" for end in ("min", "max")]
    answers = [f"oracle.max_answer_tokens={sizes.answer}", f"exploration.n_samples={sizes.n}"]
    model = [f"model.name={folder}"] if folder else []
    ours: Any = Ours(compose_config(["experiment=quickstart", *lengths, *answers, *model]))
    ours.oracle._ends = ours.oracle._ends[:0]  # every answer is written to its last token
    facts = list(split_facts(list(default_facts())).train)
    python_rng("cost").shuffle(facts)
    cpu = torch.device("cpu")
    ours.step(facts[:1], 0, Clock(cpu))  # a small one will do to warm up
    steps, wall = [], time.perf_counter()
    for number in range(TIMED_STEPS):
        # This process's own work: with one thread, the seconds of an idle core, whoever else is on
        # it.
        clock, some = (
            Clock(cpu, time.process_time),
            facts[1 + number * sizes.facts :][: sizes.facts],
        )
        started = time.process_time()
        ours.step(some, 1 + number, clock)
        whole = time.process_time() - started
        seconds = {phase: clock.total(phase) for phase in PHASES}
        steps.append(seconds | {"rest": whole - sum(seconds.values())})
    wall = (time.perf_counter() - wall) / TIMED_STEPS
    print(json.dumps({"steps": steps, "wall": wall, "mib": peak_memory() / 2**20}))


def save_random(shape: Shape, folder: Path) -> None:
    """A model of this shape with the packaged one's tokenizer and vocabulary, as `save_pretrained`
    leaves it.
    """
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
    """Every point once a round, odd rounds in reverse; each is kept as soon as it is there."""
    found = json.loads(out.read_text()) if out.is_file() else {"points": []}
    found["environment"] = environment()
    done = {(Sizes(**p["sizes"]), p["round"]) for p in found["points"]}
    points = [*FITTED, *HELD_OUT]
    turns = [
        (sizes, number) for number in rounds for sizes in (points[::-1] if number % 2 else points)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for sizes, number in turns:
            if (sizes, number) in done:
                continue
            words = [json.dumps(asdict(sizes)), _folder(sizes, Path(scratch))]
            said = subprocess.check_output([sys.executable, __file__, *words], text=True)
            point = _rounded(json.loads(said.splitlines()[-1]))
            found["points"].append({"sizes": asdict(sizes), "round": number, **point})
            out.write_text(json.dumps(found, indent=1) + "\n")
            took = f"{sum(point['steps'][0].values()):.2f} s, {point['wall']:.2f} by the wall"
            print(f"{sizes}: {took}, {point['mib']:.0f} MiB", file=sys.stderr, flush=True)


def _folder(sizes: Sizes, scratch: Path) -> str:
    if sizes.params == PACKAGED:
        return ""
    folder = scratch / f"{sizes.params:.0f}"
    if not folder.is_dir():
        save_random(SHAPES[sizes.params], folder)
    return str(folder)


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    steps = [
        {phase: round(seconds, 4) for phase, seconds in step.items()} for step in found["steps"]
    ]
    return {"steps": steps, "wall": round(found["wall"], 3), "mib": round(found["mib"], 1)}


def environment() -> str:
    """What the numbers were measured on."""
    lines = (
        Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    )
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.machine()}, one thread; torch {torch.__version__}, "
        f"transformers {transformers.__version__}, Python {platform.python_version()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=json.loads, help="as JSON")
    parser.add_argument("folder", help="the model's, or nothing for the packaged one")
    given = parser.parse_args()
    measure_one(Sizes(**given.sizes), given.folder)


if __name__ == "__main__":
    main()
