"""Peak memory and CPU seconds of a learning pass and its gradient, with and without gradient
checkpointing.

    python -m benchmarks.cpu.learning_memory                    # 4 facts x 16 questions
    python -m benchmarks.cpu.learning_memory --questions 64 --header 600

The model is the packaged SmolLM2-135M. Each row is measured in a process of its own. "peak" is its
whole resident memory; "pass" is what the pass adds to the model, the adapter and the header's
cache, all of which are in memory before it. Questions are random tokens of the greatest length and
share only their fact's prompt, which is the worst case for the token tree.
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
SENTENCE_TOKENS = 18
CITIES = ("Rome", "Turin", "Milan", "Pisa")


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Measure one pass and its gradient in this process."""
    torch.set_num_threads(args.threads)
    model = ModelConfig(
        device="cpu",
        gradient_checkpointing=args.recompute,
        lora=LoraConfig(target_modules=["q_proj", "v_proj", "o_proj"]),
    )
    header = SENTENCE * -(-args.header // SENTENCE_TOKENS)
    config = Config(model=model, prompt=PromptConfig(task=header + "Fact: {edit_fact}\nQuestion:"))
    policy = build.load_policy(config, build.load_lm(config))
    device = policy.lm.device
    facts = []
    for i, city in enumerate(CITIES):
        statement = f"The Eiffel Tower is in {city}, which is a city in Italy."
        facts.append(Fact(fact_id=str(i), subject=city, edit_fact=statement))
    rng = torch.Generator().manual_seed(0)
    tokens = policy.constraints.action_ids[:-1]
    shape = (len(facts) * args.questions, config.policy.max_question_len)
    random_ids = tokens[torch.randint(len(tokens), shape, generator=rng)]
    questions = stack_questions(random_ids.tolist(), device)
    index = torch.arange(len(facts)).repeat_interleave(args.questions)
    warm_up = stack_questions([[int(tokens[0])] * 4], device)
    policy.evaluate(facts[:1], index[:1], warm_up)
    before = peak_memory()
    started = time.process_time()
    policy.evaluate(facts, index, questions).log_p_question.mean().backward()
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
    parser.add_argument("--questions", type=int, default=16, help="per fact, of 4 facts")
    parser.add_argument(
        "--header", type=int, default=300, help="about how many tokens all prompts share"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--recompute", action=argparse.BooleanOptionalAction, help="this row, in this process"
    )
    args = parser.parse_args()
    if args.recompute is not None:
        print(json.dumps(measure(args)))
        return
    print("| model.gradient_checkpointing | peak MiB | pass MiB | CPU seconds |\n|---|---|---|---|")
    command = [sys.executable, "-m", "benchmarks.cpu.learning_memory", *sys.argv[1:]]
    for value, flag in (("false", "--no-recompute"), ("true", "--recompute")):
        done = subprocess.run([*command, flag], capture_output=True, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(f"| {value} | {row['peak']:.0f} | {row['pass']:.0f} | {row['seconds']:.1f} |")


if __name__ == "__main__":
    main()
