"""A whole training step: the package against the straightforward pipeline, on the same facts.

    python -m benchmarks.cpu.pipeline            # the quickstart's step: 15 minutes on two cores
    python -m benchmarks.cpu.pipeline --facts 2 --samples 4 --repeats 1
    python -m benchmarks.cpu.pipeline policy.max_question_len=12      # any setting can be changed

Each round runs both pipelines in processes of their own, one after the other, so that a slow minute
of the machine affects both. A process takes one step to warm up and then `--steps` timed ones on
other facts. Printed are the environment, seconds of each phase per step, scored and learned
questions per second, peak resident memory, and the ratios of each round. Before that, both
pipelines score the same questions and the largest differences are printed, which shows that both
compute the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.clock import Clock
from benchmarks.cpu.steps import PHASES, FactStep, Ours, StraightforwardSteps
from contraflow import Fact, compose_config, default_facts
from contraflow.experience.scorer import SampledQuestion
from contraflow.facts import split_facts
from contraflow.policy.lora import stack_questions
from contraflow.run import build
from contraflow.seeding import python_rng
from contraflow.settings import Config

KINDS = ("ours", "straightforward")


def settings(args: argparse.Namespace) -> Config:
    """The quickstart's config with the overrides of the command line."""
    fixed = ["experiment=quickstart", f"exploration.n_samples={args.samples}"]
    return compose_config([*fixed, *args.overrides])


def facts_of_steps(args: argparse.Namespace) -> list[list[Fact]]:
    """Different facts for every step, the first to warm up; the same for both pipelines."""
    facts = list(split_facts(list(default_facts())).train)
    python_rng("pipeline benchmark").shuffle(facts)
    n = args.facts
    return [facts[n * i : n * (i + 1)] for i in range(args.steps + 1)]


def measure_one(args: argparse.Namespace) -> None:
    """Measure one pipeline in this process; print seconds by phase and memory as JSON."""
    torch.manual_seed(args.seed)
    config = settings(args)
    pipeline: Any = Ours(config) if args.one == "ours" else StraightforwardSteps(config)
    warm_up, *steps = facts_of_steps(args)
    device = build.device_of(config)
    pipeline.step(warm_up, 0, Clock(device))
    clock = Clock(device)
    seconds = []
    for number, facts in enumerate(steps, 1):
        started = time.perf_counter()
        pipeline.step(facts, number, clock)
        seconds.append(time.perf_counter() - started)
    phases = {phase: clock.total(phase) / args.steps for phase in PHASES}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"step": statistics.mean(seconds), "memory_mib": memory, **phases}))


def compare(args: argparse.Namespace) -> None:
    """Score the same questions with both pipelines; print the largest differences as JSON."""
    torch.manual_seed(args.seed)
    config = settings(args)
    facts = facts_of_steps(args)[0]
    steps = StraightforwardSteps(config).step(facts, 0, Clock(build.device_of(config)))
    print(json.dumps(_differences(Ours(config), facts, steps)))


def _differences(ours: Ours, facts: Sequence[Fact], steps: Sequence[FactStep]) -> dict[str, float]:
    """Largest absolute differences; those that depend on an answer where the answers are equal."""
    sampled = []
    for fact, step in zip(facts, steps, strict=True):
        for ids, text in zip(step.ids, step.texts, strict=True):
            sampled.append(SampledQuestion(fact, tuple(ids), text))
    scored = ours.scorer.score(sampled, 0)
    index = torch.tensor([row for row, step in enumerate(steps) for _ in step.ids])
    questions = stack_questions([s.ids for s in sampled], ours.policy.lm.device)
    with torch.no_grad():
        log_pf = ours.policy.evaluate(facts, index, questions).log_p_question

    def gap(name: str, own: Tensor | None = None) -> Tensor:
        if own is None:
            own = torch.tensor([getattr(s, name) for s in scored])
        return (own - torch.cat([getattr(step, name) for step in steps])).abs()

    answers = [answer for step in steps for answer in step.answers]
    same = [s.answer == answer for s, answer in zip(scored, answers, strict=True)]
    return {
        "questions": len(same),
        "equal answers": sum(same),
        "log_p_question": gap("log_p_question").max().item(),
        "log_pf": gap("log_pf", log_pf).max().item(),
        "log_p_answer": gap("log_p_answer")[same].max().item(),
        "log_contradiction": gap("log_contradiction")[same].max().item(),
    }


def measure_all(args: argparse.Namespace) -> None:
    """Run all rounds of both pipelines and print a Markdown table of medians and ranges."""
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, "
        f"{_processor()}; {args.facts} facts x {args.samples} questions a step, "
        f"{args.steps} steps a process, {args.repeats} rounds"
    )
    found = json.loads(_run(args, "--compare"))
    same = found.pop("equal answers")
    n = found.pop("questions")
    gaps = ", ".join(f"{name} {gap:.1e}" for name, gap in found.items())
    print(f"same questions: {same} of {n} answers equal; largest differences {gaps}\n", flush=True)
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(args.repeats):
        for kind in KINDS:
            runs[kind].append(json.loads(_run(args, "--one", kind)))
            print(f"  {kind}: {runs[kind][-1]['step']:.2f} s a step", file=sys.stderr, flush=True)
    _print_table(args, runs)


def _print_table(args: argparse.Namespace, runs: dict[str, list[dict[str, float]]]) -> None:
    per_step = args.facts * args.samples
    print(f"| | {' s | '.join(PHASES)} s | step s | questions/s | peak MiB |")
    print("|---" * (len(PHASES) + 4) + "|")
    for kind in KINDS:
        medians = [statistics.median(run[phase] for run in runs[kind]) for phase in PHASES]
        cells = [
            kind,
            *(f"{median:.2f}" for median in medians),
            _span([run["step"] for run in runs[kind]], 2),
            _span([per_step / run["step"] for run in runs[kind]], 2),
            _span([run["memory_mib"] for run in runs[kind]], 0),
        ]
        print(f"| {' | '.join(cells)} |")
    pairs = list(zip(runs["ours"], runs["straightforward"], strict=True))
    faster = _span([theirs["step"] / ours["step"] for ours, theirs in pairs], 1)
    smaller = _span([ours["memory_mib"] / theirs["memory_mib"] for ours, theirs in pairs], 2)
    print(f"\nours makes {faster} times the questions per second in {smaller} of the memory")


def _span(values: list[float], digits: int) -> str:
    """Median and range."""
    low = min(values)
    high = max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _run(args: argparse.Namespace, *what: str) -> str:
    """The last line that this command prints with other flags, in a process of its own."""
    sizes = [f"--{name}={getattr(args, name)}" for name in ("facts", "samples", "steps", "seed")]
    command = [sys.executable, "-m", "benchmarks.cpu.pipeline", *sizes, *what, *args.overrides]
    return subprocess.check_output(command, text=True).splitlines()[-1]


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
            return next(names)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facts", type=int, default=6, help="facts per step")
    parser.add_argument("--samples", type=int, default=8, help="questions per fact")
    parser.add_argument("--steps", type=int, default=3, help="timed steps per process")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", choices=KINDS, help="measure one pipeline in this process")
    parser.add_argument("--compare", action="store_true", help="score the same questions with both")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings, as of contraflow train"
    )
    args = parser.parse_args()
    if args.one:
        measure_one(args)
    elif args.compare:
        compare(args)
    else:
        measure_all(args)


if __name__ == "__main__":
    main()
