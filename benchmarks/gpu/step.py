"""A training step on one GPU, phase by phase, against the straightforward pipeline; and decoding
passes by the number of rows.

    python -m benchmarks.gpu.step --out gpu.json          # one GPU, bf16, some minutes
    python -m benchmarks.gpu.step --tiny --device cpu     # the same code in seconds: does it run?

Random weights of gpt2-large's and DeBERTa-v3-large's shapes, nothing is downloaded: 8 facts x 8
questions x 25 tokens, every question and answer written to its last token so that the work is
fixed. Three ways in turn, `--repeats` times: the package with static decoding (CUDA graphs on a
GPU, not recorded elsewhere), the package with eager decoding, and `straightforward.py`. Printed are
medians and ranges.

Bandwidth is what a decoding pass must move (weights once, head rows, keys and values of every row)
over its time, as a share of what a large copy reaches on the same card. `python -m studies.scaling
--measured` reads the file of `--out`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig

from benchmarks.clock import Clock, copy_bandwidth
from benchmarks.gpu.decode_curve import decode_curve
from benchmarks.random_models import (
    byte_tokenizer,
    deberta_config,
    gpt2_config,
    random_judge,
    random_lm,
)
from benchmarks.straightforward import Straightforward, random_pipeline
from benchmarks.work.counter import WorkCounter, watching_judge
from contraflow import compose_config, default_facts
from contraflow.experience.collect import sample_questions
from contraflow.facts import Fact
from contraflow.gflownet.objectives import SubTB, potentials
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.reward.judge import NliJudge
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.seeding import torch_rng
from contraflow.settings.models import JudgeConfig, LoraConfig, OracleConfig
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import TerminalReward

PHASES = ("generate", "answer", "judge", "prior", "learn")
STATIC = "static"
EAGER = "eager"
PLAIN = "straightforward"
OBJECTIVE = SubTB(0.9)


@dataclass(frozen=True)
class Size:
    """Shapes of the models and of a step."""

    sampler: PreTrainedConfig
    judge: PreTrainedConfig
    facts: int
    questions: int  # per fact
    tokens: int  # of each question and answer
    curve: tuple[int, ...]  # rows of the decoding passes


LARGE = Size(
    gpt2_config(36, 1280, 20, 50257),
    deberta_config(24, 1024, 16, 50257),
    facts=8,
    questions=8,
    tokens=25,
    curve=(8, 16, 32, 64, 128, 256, 512),
)
TINY = Size(
    gpt2_config(2, 32, 4, 300),
    deberta_config(1, 32, 4, 300),
    facts=2,
    questions=4,
    tokens=6,
    curve=(8, 16),
)


class Ours:
    """The package's own parts on one backbone."""

    def __init__(
        self, size: Size, judge: NliJudge, device: torch.device, dtype: torch.dtype
    ) -> None:
        config = compose_config(["experiment=gpt2_large_zsre", "data.facts=none"])
        self.prompts = (config.prompt.task, config.prompt.answer)
        self.size = size
        self.judge = judge
        self.lm = random_lm(size.sampler, device, dtype)
        constraints = question_constraints(
            self.lm.tokenizer,
            vocabulary="latin",
            min_len=size.tokens,
            max_len=size.tokens,
            device=device,
        )
        lora = LoraConfig(target_modules=["c_attn"])
        self.policy = LoraPolicy(self.lm, task_prompt(config.prompt.task), constraints, lora)
        answers = OracleConfig(max_answer_tokens=size.tokens, batch_size=512)
        self.oracle = FrozenLMOracle(self.lm, answer_prompt(config.prompt.answer), answers)
        self.oracle._ends = self.oracle._ends[:0]  # no token ends an answer
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        trained += [p for p in self.lm.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4)

    def step(self, facts: Sequence[Fact], seed: int, phase: Callable[[str], Any]) -> None:
        """One training step without replay. Questions differ each time, so no cache helps."""
        device = self.lm.device
        n = self.size.questions
        with phase("generate"):
            sampled = sample_questions(self.policy, facts, n, torch_rng(seed, device=device))
        with phase("answer"):
            answers = [a.text for a in self.oracle.answer([s.text for s in sampled])]
        with phase("judge"):
            edited = [s.fact.edit_fact for s in sampled]
            log_c = self.judge.score(edited, answers).log_contradiction
            self.judge.score([s.fact.original_fact for s in sampled], answers)
        index = torch.arange(len(facts), device=device).repeat_interleave(n)
        questions = stack_questions([s.ids for s in sampled], device)
        with phase("prior"):
            self.policy.prior(facts, index, questions)
        with phase("learn"):
            paths = self.policy.evaluate(facts, index, questions)
            loss = OBJECTIVE(potentials(paths, TerminalReward(log_c.to(device))), index)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def weight_bytes(self) -> int:
        """Bytes of the one model, adapter included."""
        return sum(p.numel() * p.element_size() for p in self.lm.model.parameters())


def straightforward_step(
    plain: Straightforward, facts: Sequence[Fact], n: int, phase: Callable[[str], Any]
) -> None:
    """The same step on the straightforward pipeline, with ``n`` questions per fact."""
    about = [fact for fact in facts for _ in range(n)]
    prompts = plain.task_prompts(facts, n)
    with phase("generate"):
        questions = plain.sample(prompts)
        texts = plain.question_texts(questions)
    with phase("answer"):
        answers = plain.answer_texts(plain.answer(plain.answer_prompts(texts)))
    with phase("judge"):
        log_c, _ = plain.judge(about, answers)
    with phase("prior"):
        plain.prior(prompts, questions)
    with phase("learn"):
        plain.learn(prompts, questions, log_c, OBJECTIVE, len(facts))
        plain.update()


def measure_steps(
    ours: Ours, plain: Straightforward, repeats: int
) -> tuple[dict[str, dict[str, list[float]]], dict[str, int]]:
    """Seconds of each way and phase, and peak bytes allocated above the models.

    The first round of each way is a warm-up and not counted.
    """
    device = ours.lm.device
    facts = list(default_facts())[: ours.size.facts]
    peaks = dict.fromkeys((STATIC, EAGER, PLAIN), 0)
    clocks = {way: Clock(device) for way in peaks}
    for repeat in range(repeats + 1):
        for n, (way, clock) in enumerate(clocks.items()):
            held = _reset_peak(device)
            if way == PLAIN:
                straightforward_step(plain, facts, ours.size.questions, clock.phase)
            else:
                ours.lm.decoding = way  # type: ignore[assignment]
                ours.step(facts, 10 * repeat + n, clock.phase)
            peaks[way] = max(peaks[way], _peak(device) - held)
    seconds = {way: {p: clock.found[p][1:] for p in PHASES} for way, clock in clocks.items()}
    return seconds, peaks


def _reset_peak(device: torch.device) -> int:
    """Forget the peak so far; return the bytes that are allocated now."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def count_work(ours: Ours) -> dict[str, Any]:
    """Counted work of an eager step, for `studies/scaling.py`."""
    counter = WorkCounter()
    ours.lm.decoding = "eager"
    with counter.watching(ours.lm), watching_judge(ours.judge, counter):
        ours.step(list(default_facts())[: ours.size.facts], -1, counter.phase)
    return {name: asdict(work) for name, work in counter.found.items()}


def environment(device: torch.device) -> str:
    """The card and the versions that the numbers were measured with."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = platform.processor() or "CPU"
    return (
        f"{name}; torch {torch.__version__} (CUDA {torch.version.cuda}), "
        f"transformers {transformers.__version__}, "
        f"Python {platform.python_version()}, {torch.get_num_threads()} threads"
    )


def save_random_judge(
    size: Size, folder: Path, device: torch.device, dtype: torch.dtype
) -> NliJudge:
    """The package's own judge on random weights, which it loads from a folder."""
    size.judge.id2label = {0: "entailment", 1: "neutral", 2: "contradiction"}
    random_judge(size.judge, torch.device("cpu"), dtype).save_pretrained(folder)
    byte_tokenizer(size.judge.vocab_size).save_pretrained(folder)
    batches = JudgeConfig(batch_size=128)
    return NliJudge(folder, batches, device=str(device), dtype=dtype, probe=False)


def steps_table(seconds: dict[str, dict[str, list[float]]]) -> str:
    """Median (least, most) milliseconds of each phase and way."""
    lines = [f"| ms | {' | '.join(seconds)} | straightforward over static |\n|---|---|---|---|---|"]
    whole = {}
    for way, phases in seconds.items():
        whole[way] = [sum(parts) for parts in zip(*phases.values(), strict=True)]
    for phase in (*PHASES, "step"):
        times = {way: whole[way] if phase == "step" else seconds[way][phase] for way in seconds}
        cells = [
            f"{1e3 * statistics.median(t):.1f} ({1e3 * min(t):.1f}, {1e3 * max(t):.1f})"
            for t in times.values()
        ]
        ratio = statistics.median(times[PLAIN]) / statistics.median(times[STATIC])
        lines.append(f"| {phase} | {' | '.join(cells)} | {ratio:.1f} |")
    return "\n".join(lines)


def main() -> None:
    args = _arguments()
    device = torch.device(args.device)
    size = TINY if args.tiny else LARGE
    dtype = torch.float32 if args.tiny else torch.bfloat16
    print(environment(device), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        judge = save_random_judge(size, Path(folder), device, dtype)
    ours = Ours(size, judge, device, dtype)
    plain = random_pipeline(size.sampler, ours.prompts, judge, size.tokens, device, dtype)
    print(
        f"{size.facts} facts x {size.questions} questions x {size.tokens} tokens, {dtype}, "
        f"{args.repeats} repeats\n"
    )
    seconds, peaks = measure_steps(ours, plain, args.repeats)
    print(steps_table(seconds))
    n_tokens = size.facts * size.questions * size.tokens
    for way, phases in seconds.items():
        rate = n_tokens / statistics.median(phases["generate"])
        weights = (plain if way == PLAIN else ours).weight_bytes() / 2**20
        print(
            f"{way}: {rate:,.0f} question tokens/s; weights {weights:,.0f} MiB and at most "
            f"{peaks[way] / 2**20:,.0f} above them"
        )
    card = copy_bandwidth(device, 1 << (20 if args.tiny else 30))
    print(f"\na large copy moves {card / 1e9:,.0f} GB/s\n")
    print("| rows | way | ms a pass | tokens/s | of it |\n" + "|---" * 5 + "|")
    curves = {}
    for way in (STATIC, EAGER):
        curves[way] = decode_curve(ours.policy, way, size.curve, args.repeats, card)
    for way, rows in curves.items():
        for r in rows:
            print(
                f"| {r['rows']} | {way} | {r['ms']:.2f} | {r['tokens_per_s']:,.0f} "
                f"| {r['bandwidth_share']:.0%} |"
            )
    if args.out:
        medians = {}
        for way, phases in seconds.items():
            medians[way] = {phase: statistics.median(times) for phase, times in phases.items()}
        result = {
            "environment": environment(device),
            "phases": medians,
            "seconds": seconds,
            "peak_bytes": peaks,
            "work": count_work(ours),
            "copy_bytes_per_s": card,
            "curves": curves,
        }
        args.out.write_text(json.dumps(result, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="two narrow layers, two facts: to see that it runs"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write everything here as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
