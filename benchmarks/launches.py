"""How many kernels a pass starts: a decoding pass of a small model is as long as the host takes to
start them.

    python benchmarks/launches.py      # the counts, and how long this host takes for one, in half a minute

Counted by intercepting every operation that is no view, on random models of 2 and 4 narrow layers,
with 4 and 8 tokens: the differences are what one layer and one token more start, the rest belongs
to the pass as a whole. A GPU may split or fuse some operations: read the counts as such, not as a
profile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedConfig

from contraflow.facts import Fact
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy, LoraSettings
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.seeding import torch_rng
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import PathLogProbs
from offline import (
    ASCII,
    byte_tokenizer,
    deberta_config,
    gpt2_config,
    qwen2_config,
    random_judge,
    random_lm,
)

NO_KERNEL = ("aten._unsafe_view", "aten.lift_fresh", "aten.detach", "aten.alias")
TARGETS = {"gpt2": ("c_attn",), "qwen2": ("q_proj", "v_proj")}
CONFIGS: dict[str, Callable[[int, int, int, int], PreTrainedConfig]] = {
    "gpt2": gpt2_config,
    "qwen2": qwen2_config,
}
FACT = Fact(fact_id="a", subject="Rome", edit_fact="Rome is in Peru.")
CPU, FLOAT = torch.device("cpu"), torch.float32


class KernelCounter(TorchDispatchMode):
    """Operations that do something with numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func._schema.returns
        alias = returned[0].alias_info if returned else None
        a_view = alias is not None and not alias.is_write
        self.n += not a_view and not str(func).startswith(NO_KERNEL)
        return func(*args, **(kwargs or {}))


def n_kernels(do: Callable[[], object]) -> int:
    with KernelCounter() as counter:
        do()
    return counter.n


def count_kernels() -> dict[str, Any]:
    """Kernels of each kind of pass, ``base`` + ``a_layer`` times the layers."""
    found: dict[str, Any] = {
        architecture: _by_layers(lambda n, a=architecture: _passes(a, n))
        for architecture in CONFIGS
    }
    found["deberta"] = _by_layers(_judge_pass)
    return found


def _by_layers(passes: Callable[[int], dict[str, float]]) -> dict[str, dict[str, float]]:
    two, four = passes(2), passes(4)
    slopes = {name: (four[name] - two[name]) / 2 for name in two}
    return {
        name: {"base": two[name] - 2 * slope, "a_layer": slope} for name, slope in slopes.items()
    }


def _passes(architecture: str, layers: int) -> dict[str, float]:
    four, eight = (_sampler(architecture, layers, n) for n in (4, 8))
    some, more = (n_kernels(lambda p=p: p.sample([FACT], 4, torch_rng("k"))) for p in (four, eight))
    decode = (more - some) / 4
    answer_some, answer_more = (n_kernels(_answering(four, n)) for n in (4, 8))
    answer_decode = (answer_more - answer_some) / 4
    questions = four.sample([FACT], 4, torch_rng("k"))
    index = torch.zeros(4, dtype=torch.long)
    return {
        "generate.decode": decode,
        "generate.read": some - 3 * decode,  # the first draw needs no decoding pass
        "answer.decode": answer_decode,
        "answer.read": answer_some - 3 * answer_decode,
        "prior.read": n_kernels(lambda: four.prior([FACT], index, questions)),
        "learn.read": n_kernels(lambda: _loss(four.evaluate([FACT], index, questions)).backward()),
    }


def _sampler(architecture: str, layers: int, n_tokens: int) -> LoraPolicy:
    """Draws questions of exactly so many tokens."""
    lm = random_lm(CONFIGS[architecture](layers, 32, 4, ASCII), CPU, FLOAT)
    limits = question_constraints(
        lm.tokenizer, vocabulary="latin", min_len=n_tokens, max_len=n_tokens
    )
    prompt = task_prompt("Ask about it.\n{edit_fact}\n:")
    return LoraPolicy(lm, prompt, limits, LoraSettings(target_modules=TARGETS[architecture]))


def _answering(policy: LoraPolicy, n_tokens: int) -> Callable[[], object]:
    oracle = FrozenLMOracle(
        policy.lm, answer_prompt("Q: Who?\nA: I.\nQ: {question}\nA:"), max_answer_tokens=n_tokens
    )
    oracle._ends = torch.empty(0, dtype=torch.long)  # every answer is written to its last token
    return lambda: oracle.answer([f"Who {n}?" for n in range(4)])


def _loss(paths: PathLogProbs) -> Tensor:
    return paths.log_p_question.sum() + paths.log_flow.sum()


def _judge_pass(layers: int) -> dict[str, float]:
    judge = random_judge(deberta_config(layers, 32, 4, ASCII), CPU, FLOAT)
    batch = byte_tokenizer()(["Rome is here."] * 4, ["It is."] * 4, return_tensors="pt")
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    with torch.no_grad():
        return {"judge.read": n_kernels(lambda: judge(**inputs))}


def host_microseconds(layers: int = 24, n_tokens: int = 16) -> float:
    """Of a kernel so small that starting it is all it takes: the least of five runs."""
    policy = _sampler("gpt2", layers, n_tokens)
    n = n_kernels(lambda: policy.sample([FACT], 1, torch_rng("k")))
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        policy.sample([FACT], 1, torch_rng("k"))
        seconds.append(time.perf_counter() - begun)
    return 1e6 * min(seconds) / n


if __name__ == "__main__":
    print(json.dumps(count_kernels(), indent=1))
    print(f"this host starts a kernel in {host_microseconds():.1f} us")
