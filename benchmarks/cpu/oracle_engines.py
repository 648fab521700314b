"""Speed and answers of the oracle in lower precision, on plain questions of the shipped facts.

    python -m benchmarks.cpu.oracle_engines              # some ten minutes on one core
    python -m benchmarks.cpu.oracle_engines --questions 64 --engines bfloat16

Each engine replaces the matrix products of the frozen model: `bfloat16` rounds weights, inputs and
outputs of all layers but the LM head, `bfloat16+head` those of the head too; `int8` quantizes
weights by row and each input as a whole (fbgemm), `int8-weights` weights only. Printed are the
speed in multiples of float32 on the same questions, the share of answers with the same text, the
share of facts with the same verdict "knows it", and the mean difference of log P_A where the text
is the same.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from contraflow import Fact, compose_config, default_facts
from contraflow.facts.known import plain_question
from contraflow.run import build
from contraflow.seeding import python_rng
from contraflow.settings import Config
from contraflow.text.match import mentions
from contraflow.types import Answer, Oracle


class Bfloat16(nn.Module):
    """Weight, input and output rounded to bfloat16."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().bfloat16(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.bfloat16(), self.weight).to(x.dtype)


class Int8(nn.Module):
    """int8 weights with a scale per row; inputs quantized with one scale per call."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        scale = _row_scale(linear.weight)
        zero = torch.zeros(len(scale), dtype=torch.long)
        rounded = torch.quantize_per_channel(linear.weight.detach(), scale, zero, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(rounded, linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        out: Tensor = torch.ops.quantized.linear_dynamic(rows, self.packed)
        return out.view(*x.shape[:-1], -1)


class Int8Weights(nn.Module):
    """int8 weights with a scale per row; inputs as they are."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.scale = _row_scale(linear.weight)
        rounded = (linear.weight.detach() / self.scale[:, None]).round().clamp(-127, 127)
        self.rounded = rounded.to(torch.int8)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        out: Tensor = torch.ops.aten._weight_int8pack_mm(rows, self.rounded, self.scale)
        return out.view(*x.shape[:-1], -1)


def _row_scale(weight: Tensor) -> Tensor:
    return weight.detach().abs().amax(1).clamp(min=1e-8) / 127


# Each engine, and whether it replaces the LM head too.
ENGINES: dict[str, tuple[Callable[[nn.Linear], nn.Module], bool]] = {
    "bfloat16": (Bfloat16, False),
    "bfloat16+head": (Bfloat16, True),
    "int8": (Int8, True),
    "int8-weights": (Int8Weights, True),
}


def oracle_with(config: Config, engine: str) -> Oracle:
    """The oracle of a config with the matrix products of its model replaced."""
    lm = build.load_lm(config)
    if engine != "float32":
        replacement, with_head = ENGINES[engine]
        for name, module in list(lm.model.named_modules()):
            if isinstance(module, nn.Linear) and (with_head or module is not lm.head):
                parent, _, own = name.rpartition(".")
                setattr(lm.model.get_submodule(parent), own, replacement(module))
    return build.load_oracle(config, lm)


def measure(config: Config, engine: str, questions: list[str]) -> tuple[float, list[Answer]]:
    """Seconds and answers of a new oracle, whose cache is empty."""
    oracle = oracle_with(config, engine)
    oracle.answer(["What is the capital of Germany?"])
    started = time.perf_counter()
    answers = oracle.answer(questions)
    return time.perf_counter() - started, answers


def knows(fact: Fact, answer: Answer) -> bool:
    """Whether the answer names the original answer."""
    return mentions(answer.text, fact.original_answer, fact.aliases)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    args = parser.parse_args()
    config = compose_config(["experiment=quickstart"])
    facts = [f for f in default_facts() if plain_question(f)]
    python_rng("oracle engines").shuffle(facts)
    facts = facts[: args.questions]
    questions = [plain_question(f) for f in facts]
    n = len(questions)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {n} questions\n")
    print(
        "| engine | times as fast as float32 | same text | same verdict "
        "| log P_A differs by, nats |"
    )
    print("|---|---|---|---|---|")
    for engine in args.engines:
        speeds = []
        for _ in range(args.repeats):
            whole, reference = measure(config, "float32", questions)
            seconds, answers = measure(config, engine, questions)
            speeds.append(whole / seconds)
        n_same_verdict = 0
        gaps = []  # of log P_A where the text is the same
        for fact, answer, expected in zip(facts, answers, reference, strict=True):
            n_same_verdict += knows(fact, answer) == knows(fact, expected)
            if answer.text == expected.text:
                gaps.append(abs(answer.log_p - expected.log_p))
        low = min(speeds)
        high = max(speeds)
        print(
            f"| {engine} | {statistics.median(speeds):.2f} ({low:.2f} to {high:.2f}) "
            f"| {len(gaps) / n:.3f} | {n_same_verdict / n:.3f} | {statistics.mean(gaps):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
