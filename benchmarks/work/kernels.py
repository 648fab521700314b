"""How many kernels a forward pass starts.

    python -m benchmarks.work.kernels     # the counts and this host's time per kernel

A decoding pass of a small model takes as long as the host needs to start its kernels. Counted is
every operation that is not a view, on random models of 2 and 4 narrow layers with 4 and 8 tokens:
the differences give what one more layer and one more token start, the rest belongs to the pass as a
whole. How many a pass starts depends on depth, not on width. A GPU may split or fuse operations, so
these are counts and not a profile.
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

from benchmarks.random_models import (
    ASCII,
    byte_tokenizer,
    deberta_config,
    gpt2_config,
    qwen2_config,
    random_judge,
    random_lm,
)
from contraflow.facts import Fact
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.seeding import torch_rng
from contraflow.settings.models import LoraConfig, OracleConfig
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import PathLogProbs

NO_KERNEL = ("aten._unsafe_view", "aten.lift_fresh", "aten.detach", "aten.alias")
LORA_TARGETS = {"gpt2": ["c_attn"], "qwen2": ["q_proj", "v_proj"]}
CONFIGS: dict[str, Callable[[int, int, int, int], PreTrainedConfig]] = {
    "gpt2": gpt2_config,
    "qwen2": qwen2_config,
}
FACT = Fact(fact_id="a", subject="Rome", edit_fact="Rome is in Peru.")
CPU = torch.device("cpu")
N_ROWS = 4


class KernelCounter(TorchDispatchMode):
    """Counts operations that are not views."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func._schema.returns
        alias = returned[0].alias_info if returned else None
        is_view = alias is not None and not alias.is_write
        self.n += not is_view and not str(func).startswith(NO_KERNEL)
        return func(*args, **(kwargs or {}))


def n_kernels(call: Callable[[], object]) -> int:
    """Number of kernels that a call starts."""
    counter = KernelCounter()
    with counter:
        call()
    return counter.n


def count_kernels() -> dict[str, Any]:
    """Kernels of each kind of pass, by architecture: ``base`` + ``a_layer`` times the layers."""
    found: dict[str, Any] = {}
    for architecture in CONFIGS:
        found[architecture] = _by_layers(_lm_kernels(architecture, 2), _lm_kernels(architecture, 4))
    found["deberta"] = _by_layers(_judge_kernels(2), _judge_kernels(4))
    return found


def _by_layers(two: dict[str, float], four: dict[str, float]) -> dict[str, dict[str, float]]:
    """The line through the counts of 2 and of 4 layers, for each kind of pass."""
    found = {}
    for name, count in two.items():
        slope = (four[name] - count) / 2
        found[name] = {"base": count - 2 * slope, "a_layer": slope}
    return found


def _lm_kernels(architecture: str, layers: int) -> dict[str, float]:
    policy = _sampler(architecture, layers, n_tokens=4)
    longer = _sampler(architecture, layers, n_tokens=8)
    sample_4 = n_kernels(lambda: policy.sample([FACT], N_ROWS, torch_rng("k")))
    sample_8 = n_kernels(lambda: longer.sample([FACT], N_ROWS, torch_rng("k")))
    sample_pass = (sample_8 - sample_4) / 4
    answer_4 = n_kernels(_answering(policy, 4))
    answer_8 = n_kernels(_answering(policy, 8))
    answer_pass = (answer_8 - answer_4) / 4
    questions = policy.sample([FACT], N_ROWS, torch_rng("k"))
    index = torch.zeros(N_ROWS, dtype=torch.long)
    return {
        "generate.decode": sample_pass,
        "generate.read": sample_4 - 3 * sample_pass,  # the first token needs no decoding pass
        "answer.decode": answer_pass,
        "answer.read": answer_4 - 3 * answer_pass,
        "prior.read": n_kernels(lambda: policy.prior([FACT], index, questions)),
        "learn.read": n_kernels(
            lambda: _loss(policy.evaluate([FACT], index, questions)).backward()
        ),
    }


def _sampler(architecture: str, layers: int, n_tokens: int) -> LoraPolicy:
    """Policy whose questions have exactly ``n_tokens`` tokens."""
    lm = random_lm(CONFIGS[architecture](layers, 32, 4, ASCII), CPU, torch.float32)
    constraints = question_constraints(
        lm.tokenizer, vocabulary="latin", min_len=n_tokens, max_len=n_tokens
    )
    prompt = task_prompt("Ask about it.\n{edit_fact}\n:")
    lora = LoraConfig(target_modules=LORA_TARGETS[architecture])
    return LoraPolicy(lm, prompt, constraints, lora)


def _answering(policy: LoraPolicy, n_tokens: int) -> Callable[[], object]:
    """Call that writes answers of exactly ``n_tokens`` tokens."""
    prompt = answer_prompt("Q: Who?\nA: I.\nQ: {question}\nA:")
    oracle = FrozenLMOracle(policy.lm, prompt, OracleConfig(max_answer_tokens=n_tokens))
    oracle._ends = torch.empty(0, dtype=torch.long)  # no token ends an answer
    return lambda: oracle.answer([f"Who {n}?" for n in range(N_ROWS)])


def _loss(paths: PathLogProbs) -> Tensor:
    return paths.log_p_question.sum() + paths.log_flow.sum()


def _judge_kernels(layers: int) -> dict[str, float]:
    judge = random_judge(deberta_config(layers, 32, 4, ASCII), CPU, torch.float32)
    batch = byte_tokenizer()(["Rome is here."] * 4, ["It is."] * 4, return_tensors="pt")
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    with torch.no_grad():
        return {"judge.read": n_kernels(lambda: judge(**inputs))}


def host_microseconds(layers: int = 24, n_tokens: int = 16) -> float:
    """Microseconds per kernel on this host, on a model so narrow that starting the kernels is all
    the time goes to: the least of five runs.
    """
    policy = _sampler("gpt2", layers, n_tokens)
    n = n_kernels(lambda: policy.sample([FACT], 1, torch_rng("k")))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        policy.sample([FACT], 1, torch_rng("k"))
        seconds.append(time.perf_counter() - started)
    return 1e6 * min(seconds) / n


if __name__ == "__main__":
    print(json.dumps(count_kernels(), indent=1))
    print(f"this host starts a kernel in {host_microseconds():.1f} us")
