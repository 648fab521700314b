"""Are the fast paths right on this card? Each is compared with the plain computation.

    python -m benchmarks.gpu.check                          # one GPU, some two minutes
    python -m benchmarks.gpu.check --tiny --device cpu      # the same code in seconds

Random weights of gpt2-large's and DeBERTa-v3-large's shapes, in float32 and in bfloat16. Printed is
a row for each quantity, when it is known: the largest difference and its bound. The exit code is 1
where a difference is above its bound or not a number.

Fast are: decoding with fixed shapes (recorded, compiled), recorded passes over token trees with
compiled layers, the read-out that keeps no logits, the judge's recordings. Plain are: the eager
decoder, uncompiled layers, a log-softmax over all actions with autograd, the judge's own forward
pass. Where nothing was recorded, the difference is infinite. Draws and answers are compared in
float32 only: in bfloat16 two correct computations choose another token every few questions.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.gpu.pipelines import (
    LARGE,
    TINY,
    Ours,
    Size,
    judge_on,
    plain_judge,
    recorded_judge,
    step_prompts,
)
from benchmarks.gpu.step import environment
from benchmarks.random_models import random_lm
from contraflow import default_facts
from contraflow.facts import Fact
from contraflow.models.decoding.decoder import Decoder, EagerDecoder
from contraflow.models.decoding.static_decoding import start_decoding
from contraflow.models.recorded.recorded_trees import RecordedTrees
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.policy.states import QuestionStates
from contraflow.seeding import torch_rng
from contraflow.types import Questions

BOUNDS = {
    # relative differences of vectors, and shares of texts that differ
    ("logits", torch.float32): 1e-4,
    ("logits", torch.bfloat16): 5e-2,
    ("draws", torch.float32): 0.05,
    ("answers", torch.float32): 0.05,
    # nats
    ("log P_F of a token", torch.float32): 2e-3,
    ("log P_F of a token", torch.bfloat16): 0.25,
    ("log P_Q of a token", torch.float32): 2e-3,
    ("log P_Q of a token", torch.bfloat16): 0.25,
    ("gradient", torch.float32): 2e-3,
    ("gradient", torch.bfloat16): 8e-2,
    ("judge", torch.float32): 1e-3,
    ("judge", torch.bfloat16): 0.1,
}
READINGS = 3  # a shape is read, recorded and replayed


@dataclass(frozen=True)
class Row:
    """A quantity, and how far the fast path is from the plain one."""

    name: str
    dtype: torch.dtype
    difference: float
    bound: float
    seconds: float

    @property
    def is_right(self) -> bool:
        """False for a difference that is not a number, too."""
        return self.difference <= self.bound

    def __str__(self) -> str:
        verdict = "ok" if self.is_right else "WRONG"
        return (
            f"| {self.name} | {str(self.dtype).removeprefix('torch.')} | {self.difference:.1e} "
            f"| {self.bound:.1e} | {verdict} | {self.seconds:.0f} s |"
        )


class Checks:
    """The comparisons on one model in one precision."""

    def __init__(self, size: Size, device: torch.device, dtype: torch.dtype) -> None:
        self.size = size
        self.dtype = dtype
        self.judge = judge_on(size, device, dtype)
        self.ours = Ours(size, random_lm(size.sampler, device, dtype), self.judge, step_prompts())
        self.policy = self.ours.policy
        self.facts = list(default_facts())[: size.facts]
        self.trees = RecordedTrees(self.policy.lm, always=True)
        self.oracle_trees = RecordedTrees(self.policy.lm, always=True)
        _train_a_little(self.policy)

    def _decode_by(self, way: str) -> None:
        """Decode as "static" with recorded trees, or as "eager" without them."""
        lm = self.policy.lm
        lm.decoding = way  # type: ignore[assignment]
        fast = way == "static"
        self.policy._trees = self.trees if fast else RecordedTrees(lm)
        self.ours.oracle._trees = self.oracle_trees if fast else RecordedTrees(lm)

    def rows(self) -> Iterator[Row]:
        """Every comparison, when it is made."""
        comparisons = {
            "logits": self.logits,
            "draws": self.draws,
            "answers": self.answers,
            "log P_Q of a token": self.prior,
            "log P_F of a token": self.log_pf,
            "gradient": self.gradient,
            "judge": self.judged,
        }
        for name, compare in comparisons.items():
            bound = BOUNDS.get((name, self.dtype))
            if bound is not None:
                started = time.monotonic()
                difference = compare()
                yield Row(name, self.dtype, difference, bound, time.monotonic() - started)

    @torch.no_grad()
    def logits(self) -> float:
        """Of both decoders at every token of the same texts."""
        facts = self.facts
        tokens = self._some_questions().ids[:: self.size.questions]
        fast = self._decoder("static", facts)
        plain = self._decoder("eager", facts)
        row = torch.arange(len(facts), device=tokens.device)
        rows = [row, row]
        largest = 0.0
        for t in range(self.size.tokens - 1):
            found = [d.logits()[r].float() for d, r in zip((fast, plain), rows, strict=True)]
            largest = max(largest, _relative(*found))
            rows = [d.advance(r, tokens[:, t]) for d, r in zip((fast, plain), rows, strict=True)]
        return largest

    def _decoder(self, way: str, facts: Sequence[Fact]) -> Decoder:
        policy = self.policy
        lm = policy.lm
        self._decode_by(way)
        for _ in range(READINGS):
            context = lm.prefill(policy._prefix, policy.encode(facts), policy._trees)
        actions = policy.constraints.action_ids
        if way == "eager":
            return EagerDecoder(lm, context, self.size.tokens, actions)
        steps = policy._static_steps
        return start_decoding(lm, context, len(facts), self.size.tokens, steps, actions)

    def draws(self) -> float:
        """Share of questions that differ for the same random numbers."""
        found = []
        for way in ("static", "eager"):
            self._decode_by(way)
            found.append(self.policy.token_rows(self._some_questions()))
        return self._recorded(self.trees, _share_of_different(*found))

    def answers(self) -> float:
        """Share of answers that differ."""
        questions = self.policy.texts(self._some_questions())
        found = []
        for way in ("static", "eager"):
            self._decode_by(way)
            for _ in range(READINGS):
                answers = self.ours.oracle._generate(questions)
            found.append([answer.text for answer in answers])
        return self._recorded(self.oracle_trees, _share_of_different(*found))

    def prior(self) -> float:
        """log P_Q of every token and stop."""
        questions = self._on_host()
        self._decode_by("static")
        for _ in range(READINGS):
            fast = self.policy.prior(self.facts, self._owners(), questions)
        with self.policy.lm.frozen():
            plain = self._plain_log_probs(questions)
        largest = _largest(torch.cat([fast.log_pf, fast.log_p_stop[:, None]], 1), plain)
        return self._recorded(self.trees, largest)

    def log_pf(self) -> float:
        """log P_F of every token and stop."""
        questions = self._on_host()
        self._decode_by("static")
        with torch.no_grad():
            for _ in range(READINGS):
                fast = self.policy.evaluate(self.facts, self._owners(), questions)
            plain = self._plain_log_probs(questions)
        largest = _largest(torch.cat([fast.log_pf, fast.log_p_stop[:, None]], 1), plain)
        return self._recorded(self.trees, largest)

    def gradient(self) -> float:
        """By all parameters of the adapter, of a loss that weighs tokens unequally."""
        questions = self._on_host()
        self._decode_by("static")
        for _ in range(READINGS):
            paths = self.policy.evaluate(self.facts, self._owners(), questions)
        fast = torch.cat([paths.log_pf, paths.log_p_stop[:, None]], 1)
        weights = torch.linspace(-1, 1, fast.numel(), device=fast.device).view_as(fast)
        trained = [p for p in self.policy.lm.model.parameters() if p.requires_grad]
        found = [_flat(torch.autograd.grad((fast * weights).sum(), trained))]
        plain = self._plain_log_probs(questions)
        found.append(_flat(torch.autograd.grad((plain * weights).sum(), trained)))
        return self._recorded(self.trees, _relative(*found))

    def _recorded(self, trees: RecordedTrees, difference: float) -> float:
        """The difference; infinite where these trees were not recorded."""
        return difference if trees.records and trees.n_recordings else math.inf

    def judged(self) -> float:
        """Scores of shapes that have come up before; infinite where they were not recorded."""
        answers = self.policy.texts(self._some_questions())
        premises = [fact.edit_fact for fact in self.facts for _ in range(self.size.questions)]
        judge, network = recorded_judge(self.judge)
        for _ in range(READINGS):
            fast = judge.score(premises, answers).log_probs
        if not network.has_recordings:
            return math.inf
        return _largest(fast, plain_judge(self.judge).score(premises, answers).log_probs)

    def _plain_log_probs(self, questions: Questions) -> Tensor:
        """log P of each token and of the stop after it, by a log-softmax over the actions that
        exist; layers uncompiled.
        """
        policy = self.policy
        lm = policy.lm
        prompts = policy.encode(self.facts)
        rows = policy.token_rows(questions)
        states = QuestionStates.of(
            [prompts[owner] for owner in self._owners()],
            rows,
            questions.ids.shape[1],
            policy.constraints,
            lm.device,
        )
        hidden = lm.tree_hidden(policy._prefix, states.tree)[states.nodes]
        logits = lm.logits(hidden, policy.constraints.action_ids)
        stop = len(policy.constraints.action_ids) - 1
        exists = torch.ones_like(logits, dtype=torch.bool)
        exists[:, stop] = states.step >= policy.constraints.min_len
        exists[:, :stop] = (states.step < policy.constraints.max_len)[:, None]
        log_p = logits.masked_fill(~exists, -torch.inf).log_softmax(-1)
        closed = [[*policy.constraints.columns_of(row), stop] for row in rows]
        columns = torch.tensor(closed, device=lm.device)
        return log_p[states.along, columns]

    def _some_questions(self) -> Questions:
        rng = torch_rng("check", device=self.policy.lm.device)
        return self.policy.sample(self.facts, self.size.questions, rng)

    def _on_host(self) -> Questions:
        return stack_questions(self.policy.token_rows(self._some_questions()), "cpu")

    def _owners(self) -> list[int]:
        return [i for i in range(len(self.facts)) for _ in range(self.size.questions)]


@torch.no_grad()
def _train_a_little(policy: LoraPolicy) -> None:
    """Give the adapter an effect: at the start its second matrix is 0."""
    for name, parameter in policy.lm.model.named_parameters():
        if "lora_B" in name:
            g = torch_rng(name, device=parameter.device)
            parameter.normal_(0, 0.02, generator=g)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten().float() for tensor in tensors])


def _relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def _largest(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float() - theirs.float()).abs().max())


def _share_of_different(ours: Sequence[object], theirs: Sequence[object]) -> float:
    pairs = list(zip(ours, theirs, strict=True))
    return sum(a != b for a, b in pairs) / len(pairs)


def main() -> int:
    """Print the table; 1 where something is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="two narrow layers, two facts")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "both"), default="both", help="of the models"
    )
    args = parser.parse_args()
    device = torch.device(args.device)
    names = ("float32", "bfloat16") if args.dtype == "both" else (args.dtype,)
    print(environment(device), flush=True)
    print("| quantity | dtype | largest difference | bound | | took |\n" + "|---" * 6 + "|")
    wrong = 0
    for name in names:
        checks = Checks(TINY if args.tiny else LARGE, device, getattr(torch, name))
        for row in checks.rows():
            print(row, flush=True)
            wrong += not row.is_right
        del checks
    print(f"{wrong} of these are wrong" if wrong else "all fast paths agree with the plain ones")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
