"""Actors against ranks, in whole runs: questions that are scored and learned a second.

    python -m benchmarks.actors                      # an oracle that takes 0.5 s an answer
    python -m benchmarks.actors --seconds 0          # one that answers at once: actors may not cost
    python -m benchmarks.actors --seconds 0 --packaged --facts 6      # with the packaged sampler

With waiting, four actors are paired with four ranks of `exchange=scatter`; without, as many actors
as there are cores with a single process that has all cores. Runs alternate, since a machine may be
busier at times, and the figure is the ratio of medians. Every learned question is newly scored, on
both sides. The sampler is a random model, so that the time is that of the exchange, unless
`--packaged` is given; the judge is the packaged one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2LMHeadModel

from benchmarks.random_models import byte_tokenizer, gpt2_config
from benchmarks.slow_server import slow_server

SKIPPED_STEPS = 12  # until the models of all actors are loaded, one after another on few cores


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: its overrides, and the batches of all its ranks a step.

    threads: of each process.
    """

    name: str
    overrides: tuple[str, ...]
    batches: int = 1
    threads: int = 1


def sides(waits: bool, n: int) -> tuple[Side, Side]:
    """Actors first, then what they are compared with."""
    if waits:
        actors = Side("actors", ("exchange=actors", f"exchange.actors={n}"))
        return actors, Side("scatter", ("exchange=scatter", f"trainer.devices={n}"), n)
    actors = Side("actors", ("exchange=actors", f"exchange.actors={n}"))
    return actors, Side("one process", ("exchange=local",), threads=os.cpu_count() or 1)


def questions_per_second(folder: Path, questions_per_batch: int, side: Side) -> float:
    """Newly scored questions that steps learned from, by the time of these steps."""
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    seconds: list[float] = [line["step_seconds"] for line in lines[SKIPPED_STEPS:]]
    return len(seconds) * questions_per_batch * side.batches / sum(seconds)


def run(side: Side, model: Path | None, oracle: str | None, folder: Path, args: Any) -> float:
    """Train in processes of their own, and return the questions a second.

    model: a sampler's folder; None is the packaged sampler.
    """
    sampler = (
        ["experiment=quickstart", "evaluation.target_facts=0"]
        if model is None
        else [
            "model=any",
            f"model.name={model}",
            "model.device=cpu",
            "prompt=few_shot_subject",
            "policy.max_question_len=12",
        ]
    )
    overrides = [
        *sampler,
        *side.overrides,
        "replay=embedded",
        "exchange.newest_share=1.0",
        "exploration.use_buffer_prob=0",
        f"exploration.n_samples={args.n_samples}",
        f"trainer.facts_per_step={args.facts}",
        f"trainer.n_steps={args.steps + SKIPPED_STEPS}",
        "trainer.validate_every=1000000",
        "trainer.checkpoint_every=1000000",
        "trainer.probe_every=1000000",
        "data.filter_known=false",
        "data.max_validation_facts=1",
        "data.max_test_facts=1",
        "evaluation.enabled=false",
        "logger=none",
        f"run_dir={folder}",
    ]
    if oracle is not None:
        overrides += ["oracle=separate", f"oracle.name={oracle}"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(side.threads)}
    command = [sys.executable, "-m", "contraflow.cli", "train", *overrides]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{side.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return questions_per_second(folder, args.facts * args.n_samples, side)


def save_model(folder: Path) -> Path:
    """Save a small random model with a tokenizer."""
    tokenizer = byte_tokenizer(2000)
    torch.manual_seed(0)
    GPT2LMHeadModel(gpt2_config(2, 64, 4, len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="the oracle's time an answer")
    parser.add_argument(
        "--actors", type=int, help="actors, and ranks of scatter: 4, or one a core without waiting"
    )
    parser.add_argument("--packaged", action="store_true", help="the packaged sampler")
    parser.add_argument("--facts", type=int, default=2, help="facts a batch")
    parser.add_argument("--n-samples", type=int, default=8, help="questions a fact")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=2, help="runs of each side, in turn")
    args = parser.parse_args()
    waits = args.seconds > 0
    n_actors = args.actors or (4 if waits else os.cpu_count() or 1)
    found: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        slow_server(args.seconds) if waits else nullcontext() as oracle,
    ):
        model = None if args.packaged else save_model(Path(scratch) / "model")
        for pair in range(args.pairs):
            for side in sides(waits, n_actors):
                folder = Path(scratch) / f"{side.name.replace(' ', '-')}-{pair}"
                rate = run(side, model, oracle, folder, args)
                found.setdefault(side.name, []).append(rate)
                print(f"{side.name}: {rate:.1f} questions a second", flush=True)
    actors, other = (statistics.median(rates) for rates in found.values())
    names = list(found)
    print(f"{names[0]} / {names[1]}: {actors / other:.2f}")


if __name__ == "__main__":
    main()
