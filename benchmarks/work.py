"""How much work a training step is: tokens read, states decoded, keys read, kernels started, bytes
sent. No seconds.

    python benchmarks/work.py --out benchmarks/work.json      # some ten minutes on one core; needs the packaged models

Two settings are counted over real steps of an untrained sampler (SmolLM2 with its tokenizer and the embedded judge):
the quickstart's prompt, and the prototype's prompt and lengths (`subject_only`, up to 25 tokens), 8 facts x 8 questions
each. Kernels are counted on random models of 2 and 4 narrow layers: how many a pass starts depends on depth, not width.
`scripts/scaling.py` turns the counts into time by a roofline; `benchmarks/gpu.py` uses the same counter.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contraflow import compose_config, default_facts
from contraflow.distributed.messages import encode
from contraflow.experience.collect import draw
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM, Context
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.replay.codec import encode_entry
from contraflow.run.build import load_judge, load_lm, load_oracle, load_policy
from contraflow.seeding import torch_rng
from contraflow.settings import Config
from launches import count_kernels

FACTS, SAMPLES = 8, 8
SETTINGS = {
    "quickstart": ["experiment=quickstart", "logger=none"],
    "gpt2_large_zsre": [
        "experiment=quickstart",
        "logger=none",
        "prompt=subject_only",
        "policy.max_question_len=25",
    ],
}


@dataclass
class Work:
    """What a phase asks of one model."""

    passes: float = 0  # one after another
    tokens: float = 0  # positions that go through the layers, padding included
    attended: float = 0  # (query, key) pairs, summed over passes
    keys_read: float = 0  # cached positions read from memory; a shared prefix once a decoding pass
    keys_copied: float = 0  # cached positions that leave and enter memory when rows leave or branch
    states_read: float = 0  # rows of the LM head's input
    actions: float = 0  # rows of the LM head, the most that any pass used


class WorkCounter:
    """Counts what goes through a causal LM, under the name of the innermost phase that is going on.

    One token a row with a cache is decoding; everything else is reading.
    """

    def __init__(self) -> None:
        self.found: dict[str, Work] = defaultdict(Work)
        self._phase = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        around, self._phase = self._phase, name
        try:
            yield
        finally:
            self._phase = around

    @contextmanager
    def watching(self, lm: CausalLM) -> Iterator[None]:
        """Within the block the model's passes are counted."""
        forward, logits, keep = lm._forward, lm.logits, Context.keep

        def counted_forward(
            ids: Tensor, mask: Tensor, positions: Tensor, cache: Any, prefix: Any
        ) -> Tensor:
            try:
                return forward(ids, mask, positions, cache, prefix)
            finally:  # torch ends a pass that is run again for gradients by raising
                self._note_pass(ids, 0 if prefix is None else prefix.length, cache)

        def counted_logits(hidden: Tensor, rows: Tensor | None = None) -> Tensor:
            work = self.found[f"{self._phase}.head"]
            work.passes += 1
            work.states_read += hidden.numel() // hidden.shape[-1]
            work.actions = max(work.actions, len(lm.head.weight) if rows is None else len(rows))
            return logits(hidden, rows)

        def counted_keep(context: Context, rows: Tensor) -> None:
            room = context.cache.layers[0]._k.shape[2]  # whole buffers move, the empty part too
            self.found[f"{self._phase}.decode"].keys_copied += len(rows) * room
            keep(context, rows)

        patched: Any = lm
        patched._forward, patched.logits = counted_forward, counted_logits
        Context.keep = counted_keep  # type: ignore[method-assign]
        try:
            yield
        finally:
            del patched._forward, patched.logits
            Context.keep = keep  # type: ignore[method-assign]

    def _note_pass(self, ids: Tensor, shared: int, cache: Any) -> None:
        rows, t = ids.shape
        own = t if cache is None else cache.get_seq_length()
        decoding = t == 1 and cache is not None
        work = self.found[f"{self._phase}.{'decode' if decoding else 'read'}"]
        work.passes += 1
        work.tokens += rows * t
        work.attended += rows * t * (own + shared)
        work.keys_read += rows * own + (shared if decoding else rows * shared)


@contextmanager
def watching_judge(judge: Any, counter: WorkCounter) -> Iterator[None]:
    """Count calls and tokens (padding included) of a judge of either kind."""
    work = counter.found["judge.read"]

    def note(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows, t = (args[0] if args else kwargs)["input_ids"].shape
        work.passes += 1
        work.tokens += rows * t
        work.attended += rows * t * t

    network = getattr(judge, "_network", None)
    handle = (judge._model if network is None else network).register_forward_pre_hook(
        note, with_kwargs=True
    )
    try:
        yield
    finally:
        handle.remove()


def count_step(
    policy: LoraPolicy, scorer: Scorer, facts: list[Fact], counter: WorkCounter, step: int
) -> dict[str, float]:
    """One step as training takes it, phase by phase; returns bytes of what would be stored and
    sent, a question.
    """
    oracle, judge = scorer.oracle, scorer.judge
    assert oracle is not None and judge is not None
    with counter.watching(policy.lm):
        with counter.phase("generate"):
            drawn = draw(policy, facts, SAMPLES, torch_rng(0, step, "work"))
        with counter.phase("answer"):
            answers = oracle.answer([d.text for d in drawn])
        with watching_judge(judge, counter), counter.phase("judge"):
            verdicts = scorer.examine([d.asked for d in drawn])
        unique = list({d.key: d for d in drawn}.values())
        with counter.phase("prior"):
            scored = scorer.score(unique, step)
        with counter.phase("learn"):
            index = torch.tensor([i for i in range(len(facts)) for _ in range(SAMPLES)])
            policy.evaluate(facts, index, stack_questions([d.ids for d in drawn], policy.lm.device))
    entries = [len(encode_entry(s)) for s in scored]
    return {
        "entry": statistics.mean(entries),
        "asked": len(encode([d.asked for d in drawn])) / len(drawn),
        "verdict": len(encode(verdicts)) / len(drawn),
        "scored": len(encode(scored)) / len(scored),
        "tokens": statistics.mean(len(d.ids) for d in drawn),
        "distinct": len(unique) / len(drawn),
        "answer_tokens": statistics.mean(len(policy.lm.encode(a.text)) for a in answers),
    }


def count_setting(config: Config, n_steps: int) -> dict[str, Any]:
    """Means over steps on facts of the shipped set."""
    lm = load_lm(config)
    oracle, judge, policy = load_oracle(config, lm), load_judge(config), load_policy(config, lm)
    facts = list(default_facts())
    random.Random(0).shuffle(facts)
    counter, bytes_of = WorkCounter(), []
    for step in range(n_steps):
        some = facts[step * FACTS : (step + 1) * FACTS]
        bytes_of.append(count_step(policy, Scorer(policy, oracle, judge), some, counter, step))
    phases = {
        name: {k: v / n_steps for k, v in asdict(w).items()} for name, w in counter.found.items()
    }
    for name, work in counter.found.items():
        phases[name]["actions"] = work.actions
    return {
        "facts": FACTS,
        "questions": FACTS * SAMPLES,
        "steps": n_steps,
        "phases": phases,
        "a_question": {key: statistics.mean(b[key] for b in bytes_of) for key in bytes_of[0]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4, help="steps of each setting")
    parser.add_argument("--out", type=Path, help="write the counts here as JSON")
    given = parser.parse_args()
    found = {
        name: count_setting(compose_config(words), given.steps) for name, words in SETTINGS.items()
    }
    text = (
        json.dumps({"settings": found, "kernels": count_kernels()}, indent=1, sort_keys=True) + "\n"
    )
    print(text)
    if given.out:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
