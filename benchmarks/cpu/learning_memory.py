"""What one learning pass costs with and without gradient checkpointing: peak memory and CPU
seconds, backward included.

    python benchmarks/learning_memory.py                        # the packaged SmolLM2-135M, 4 facts x 16 questions
    python benchmarks/learning_memory.py --questions 64 --header 600

Each row is a process of its own. "peak" is its whole resident memory; "pass" is what the pass added
to the model, the adapter and the header's keys, all of which are in memory before it. Questions are
random tokens of the greatest length and share nothing but their fact's prompt, which is the worst
case for the tree that is read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import torch

from contraflow.facts import Fact
from contraflow.policy.lora import stack_questions
from contraflow.run import build
from contraflow.settings import Config, LoraConfig, ModelConfig, PromptConfig
from contraflow.system.memory import peak_memory

SENTENCE = "Fact: The capital of France is Paris.\nQuestion: What is the capital of France?\n"


def measure(args: argparse.Namespace) -> dict[str, float]:
    """One pass and its gradient in this process."""
    torch.set_num_threads(args.threads)
    model = ModelConfig(
        device="cpu",
        gradient_checkpointing=args.recompute,
        lora=LoraConfig(target_modules=["q_proj", "v_proj", "o_proj"]),
    )
    lines = -(-args.header // 18)  # tokens of SENTENCE
    config = Config(
        model=model, prompt=PromptConfig(task=SENTENCE * lines + "Fact: {edit_fact}\nQuestion:")
    )
    policy = build.load_policy(config, build.load_lm(config))
    facts = [
        Fact(
            fact_id=str(i),
            subject=s,
            edit_fact=f"The Eiffel Tower is in {s}, which is a city in Italy.",
        )
        for i, s in enumerate(["Rome", "Turin", "Milan", "Pisa"])
    ]
    rng = torch.Generator().manual_seed(0)
    words = policy.constraints.action_ids[:-1]
    drawn = torch.randint(
        len(words), (4 * args.questions, config.policy.max_question_len), generator=rng
    )
    questions = stack_questions(words[drawn].tolist(), policy.lm.device)
    about = torch.arange(4).repeat_interleave(args.questions)
    policy.evaluate(
        facts[:1], about[:1], stack_questions([[int(words[0])] * 4], policy.lm.device)
    )  # warm
    before, started = peak_memory(), time.process_time()
    policy.evaluate(facts, about, questions).log_p_question.mean().backward()
    seconds = time.process_time() - started
    return {
        "peak": peak_memory() / 2**20,
        "pass": (peak_memory() - before) / 2**20,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=16, help="of each of 4 facts")
    parser.add_argument(
        "--header", type=int, default=300, help="tokens that all prompts share, about"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--recompute", action=argparse.BooleanOptionalAction, help="this row only, as JSON"
    )
    args = parser.parse_args()
    if args.recompute is not None:
        print(json.dumps(measure(args)))
        return
    print("| model.gradient_checkpointing | peak MiB | pass MiB | CPU seconds |\n|---|---|---|---|")
    for word, flag in (("false", "--no-recompute"), ("true", "--recompute")):
        out = subprocess.run(
            [sys.executable, *sys.argv, flag], capture_output=True, text=True, check=True
        )
        row = json.loads(out.stdout.splitlines()[-1])
        print(f"| {word} | {row['peak']:.0f} | {row['pass']:.0f} | {row['seconds']:.1f} |")


if __name__ == "__main__":
    main()
