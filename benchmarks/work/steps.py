"""How much work a training step is: tokens, states, cached keys, kernels and bytes. No seconds.

    python -m benchmarks.work.steps --out benchmarks/work/counts.json

Takes some ten minutes on one core and needs the packaged models. Two settings are counted over real
steps of an untrained sampler (SmolLM2 with its tokenizer, and the packaged judge): the quickstart's
prompt, and the prototype's prompt and lengths (`subject_only`, up to 25 tokens), 8 facts x 8
questions each. Kernels are counted by `kernels.py`. `studies/scaling.py` turns the counts into
seconds by a roofline.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.work.counter import WorkCounter, watching_judge
from benchmarks.work.kernels import count_kernels
from contraflow import compose_config, default_facts
from contraflow.distributed.messages import encode
from contraflow.experience.collect import sample_questions
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.replay.codec import encode_entry
from contraflow.run.build import load_judge, load_lm, load_oracle, load_policy
from contraflow.seeding import torch_rng
from contraflow.settings import Config

N_FACTS = 8
N_SAMPLES = 8
SETTINGS = {
    "quickstart": ["experiment=quickstart", "logger=none"],
    "gpt2_large_zsre": [
        "experiment=quickstart",
        "logger=none",
        "prompt=subject_only",
        "policy.max_question_len=25",
    ],
}


def count_step(
    policy: LoraPolicy, scorer: Scorer, facts: list[Fact], counter: WorkCounter, step: int
) -> dict[str, float]:
    """Count one step, phase by phase, and return per question the bytes stored and sent.

    The sizes are means: bytes of a replay entry, of a request to the scorer, of a verdict and of a
    scored question; tokens of a question and of an answer; and the share of distinct questions.
    """
    oracle = scorer.oracle
    judge = scorer.judge
    assert oracle is not None and judge is not None
    with counter.watching(policy.lm):
        with counter.phase("generate"):
            sampled = sample_questions(policy, facts, N_SAMPLES, torch_rng(0, step, "work"))
        with counter.phase("answer"):
            answers = oracle.answer([s.text for s in sampled])
        with watching_judge(judge, counter), counter.phase("judge"):
            verdicts = scorer.query([s.request for s in sampled])
        unique = list({s.key: s for s in sampled}.values())
        with counter.phase("prior"):
            scored = scorer.score(unique, step)
        with counter.phase("learn"):
            index = torch.arange(len(facts)).repeat_interleave(N_SAMPLES)
            questions = stack_questions([s.ids for s in sampled], policy.lm.device)
            policy.evaluate(facts, index, questions)
    return {
        "entry": statistics.mean(len(encode_entry(s)) for s in scored),
        "asked": len(encode([s.request for s in sampled])) / len(sampled),
        "verdict": len(encode(verdicts)) / len(sampled),
        "scored": len(encode(scored)) / len(scored),
        "tokens": statistics.mean(len(s.ids) for s in sampled),
        "distinct": len(unique) / len(sampled),
        "answer_tokens": statistics.mean(len(policy.lm.encode(a.text)) for a in answers),
    }


def count_setting(config: Config, n_steps: int) -> dict[str, Any]:
    """Mean counts of ``n_steps`` steps on shipped facts, by phase and per question."""
    lm = load_lm(config)
    policy = load_policy(config, lm)
    scorer = Scorer(policy, load_oracle(config, lm), load_judge(config))
    facts = list(default_facts())
    random.Random(0).shuffle(facts)
    counter = WorkCounter()
    sizes = []
    for step in range(n_steps):
        some = facts[step * N_FACTS : (step + 1) * N_FACTS]
        sizes.append(count_step(policy, scorer, some, counter, step))
    phases = {}
    for name, work in counter.found.items():
        per_step = {field: total / n_steps for field, total in asdict(work).items()}
        phases[name] = per_step | {"actions": work.actions}  # a maximum, not a sum
    return {
        "facts": N_FACTS,
        "questions": N_FACTS * N_SAMPLES,
        "steps": n_steps,
        "phases": phases,
        "a_question": {key: statistics.mean(s[key] for s in sizes) for key in sizes[0]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4, help="steps of each setting")
    parser.add_argument("--out", type=Path, help="write the counts here as JSON")
    args = parser.parse_args()
    settings = {}
    for name, overrides in SETTINGS.items():
        settings[name] = count_setting(compose_config(overrides), args.steps)
    counts = {"settings": settings, "kernels": count_kernels()}
    text = json.dumps(counts, indent=1, sort_keys=True) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
