"""A whole training step, ours against the straightforward pipeline (`plain_pipeline.py`), on the
same facts.

    python benchmarks/pipeline.py                        # the quickstart's step; some 15 minutes on two cores
    python benchmarks/pipeline.py --facts 2 --samples 4 --repeats 1
    python benchmarks/pipeline.py oracle.engine=int8     # any setting can be overridden

Each round runs both pipelines in processes of their own, one after the other, so that a slow minute
of the machine meets both. A process takes one step to warm up and then `--steps` timed ones on
facts that it has not seen. Printed: the environment, seconds of each phase per step, scored and
learned questions per second, peak resident memory, and the ratios of each round. Before that, both
pipelines score the same questions, and the largest difference of what they say is printed: a faster
pipeline that computes something else would be no use.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from clock import Clock
from contraflow import Fact, compose_config, default_facts
from contraflow.experience.collect import Experience
from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import split_facts
from contraflow.gflownet.objectives import potentials
from contraflow.policy.lora import stack_questions
from contraflow.replay.base import ReplaySettings
from contraflow.replay.memory import MemoryReplay
from contraflow.reward.schedule import RewardParts
from contraflow.run import build
from contraflow.seeding import python_rng
from contraflow.settings import Config
from contraflow.settings.learning import ExplorationConfig
from plain_pipeline import Step, Straightforward

PHASES = ("sample", "answer", "judge", "prior", "learn")
KINDS = ("ours", "straightforward")


class Ours:
    """The package's own parts, put together as a training run does, without its run folder and
    trainer.
    """

    def __init__(self, config: Config) -> None:
        lm = build.load_lm(config)
        self.oracle, self.judge = build.load_oracle(config, lm), build.load_judge(config)
        self.policy = build.load_policy(config, lm)
        self.reward, self.objective = build.build_reward(config), build.build_objective(config)
        self.scorer = Scorer(self.policy, self.oracle, self.judge)
        settings = ExplorationConfig(
            config.exploration.n_samples, pf_temp_prob=0.0, use_buffer_prob=0.0
        )
        replay = MemoryReplay(ReplaySettings(namespace="benchmark"))
        self.experience = Experience(
            self.policy, self.scorer, replay, self.reward, settings, seed=config.seed
        )
        trained = [p for p in self.policy.lm.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=config.optimizer.lr)

    def step(self, facts: Sequence[Fact], number: int, clock: Clock) -> None:
        """One optimizer step on some facts."""
        policy: Any = self.policy
        timed = [
            (policy, "sample", "sample"),
            (policy, "prior", "prior"),
            (self.oracle, "answer", "answer"),
            (self.judge, "score", "judge"),
        ]
        for owner, method, phase in timed:
            setattr(
                owner, method, _timed(getattr(type(owner), method).__get__(owner), clock, phase)
            )
        batch = self.experience.collect(facts, number)
        with clock.phase("learn"):
            reward = self.reward(RewardParts.of(batch.scored, policy.lm.device), number)
            paths = policy.evaluate(batch.facts, batch.fact_index, batch.questions)
            self.objective(potentials(paths, reward), batch.fact_index).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()


def _timed(call: Callable[..., Any], clock: Clock, phase: str) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        with clock.phase(phase):
            return call(*args, **kwargs)

    return timed


def settings(args: argparse.Namespace) -> Config:
    """The quickstart with what was overridden."""
    fixed = ["experiment=quickstart", f"exploration.n_samples={args.samples}"]
    return compose_config([*fixed, *args.overrides])


def facts_of_steps(args: argparse.Namespace) -> list[list[Fact]]:
    """Other facts for every step, the first for warming up; the same for both pipelines."""
    facts = list(split_facts(list(default_facts())).train)
    python_rng("pipeline benchmark").shuffle(facts)
    n = args.facts
    return [facts[n * i : n * (i + 1)] for i in range(args.steps + 1)]


def measure_one(args: argparse.Namespace) -> None:
    """One pipeline in this process: JSON with seconds by phase, and memory."""
    torch.manual_seed(args.seed)
    config = settings(args)
    pipeline: Any = Ours(config) if args.one == "ours" else Straightforward(config)
    warm_up, *steps = facts_of_steps(args)
    device = build.device_of(config)
    pipeline.step(warm_up, 0, Clock(device))
    clock, seconds = Clock(device), []
    for number, facts in enumerate(steps, 1):
        started = time.perf_counter()
        pipeline.step(facts, number, clock)
        seconds.append(time.perf_counter() - started)
    phases = {phase: clock.total(phase) / args.steps for phase in PHASES}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"step": statistics.mean(seconds), "memory_mib": memory, **phases}))


def compare(args: argparse.Namespace) -> None:
    """Both pipelines on the same questions: the largest differences, as JSON."""
    torch.manual_seed(args.seed)
    config = settings(args)
    facts = facts_of_steps(args)[0]
    steps = Straightforward(config).step(facts, 0, Clock(build.device_of(config)))
    print(json.dumps(_differences(Ours(config), facts, steps)))


def _differences(ours: Ours, facts: Sequence[Fact], steps: Sequence[Step]) -> dict[str, float]:
    drawn = [
        SampledQuestion(fact, tuple(ids), text)
        for fact, step in zip(facts, steps, strict=True)
        for ids, text in zip(step.ids, step.texts, strict=True)
    ]
    scored = ours.scorer.score(drawn, 0)
    index = torch.tensor([row for row, step in enumerate(steps) for _ in step.ids])
    questions = stack_questions([d.ids for d in drawn], ours.policy.lm.device)
    with torch.no_grad():
        log_pf = ours.policy.evaluate(facts, index, questions).log_p_question

    def theirs(name: str) -> torch.Tensor:
        return torch.cat([getattr(step, name) for step in steps])

    same = [
        s.answer == answer
        for s, answer in zip(scored, [a for t in steps for a in t.answers], strict=True)
    ]
    gaps = {
        "log_p_question": torch.tensor([s.log_p_question for s in scored])
        - theirs("log_p_question"),
        "log_pf": log_pf - theirs("log_pf"),
        "log_p_answer": (torch.tensor([s.log_p_answer for s in scored]) - theirs("log_p_answer"))[
            same
        ],
        "log_contradiction": (
            torch.tensor([s.log_contradiction for s in scored]) - theirs("log_contradiction")
        )[same],
    }
    return {"questions": len(same), "equal answers": sum(same)} | {
        name: gap.abs().max().item() for name, gap in gaps.items()
    }


def measure_all(args: argparse.Namespace) -> None:
    """Rounds of both pipelines; a Markdown table of medians and ranges."""
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, {_processor()}; "
        f"{args.facts} facts x {args.samples} questions a step, {args.steps} steps a process, {args.repeats} rounds"
    )
    found = json.loads(_run(args, "--compare"))
    same, n = found.pop("equal answers"), found.pop("questions")
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
        phases = " | ".join(
            f"{statistics.median(run[p] for run in runs[kind]):.2f}" for p in PHASES
        )
        rate = _span([per_step / run["step"] for run in runs[kind]], 2)
        memory = _span([run["memory_mib"] for run in runs[kind]], 0)
        print(
            f"| {kind} | {phases} | {_span([r['step'] for r in runs[kind]], 2)} | {rate} | {memory} |"
        )
    pairs = list(zip(runs["ours"], runs["straightforward"], strict=True))
    faster = _span([theirs["step"] / ours["step"] for ours, theirs in pairs], 1)
    smaller = _span([ours["memory_mib"] / theirs["memory_mib"] for ours, theirs in pairs], 2)
    print(f"\nours makes {faster} times the questions per second in {smaller} of the memory")


def _span(values: list[float], digits: int) -> str:
    """Median and range."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _run(args: argparse.Namespace, *what: str) -> str:
    sizes = [f"--{name}={getattr(args, name)}" for name in ("facts", "samples", "steps", "seed")]
    command = [sys.executable, __file__, *sizes, *what, *args.overrides]
    return subprocess.check_output(command, text=True).splitlines()[-1]


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(
                line.split(":")[1].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facts", type=int, default=6, help="facts a step")
    parser.add_argument("--samples", type=int, default=8, help="questions a fact")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a process")
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
