"""The straightforward pipeline on the models of a config, or on random ones of any shape."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

from benchmarks.random_models import byte_tokenizer, random_weights
from benchmarks.straightforward import Rules, Straightforward
from contraflow.models.weights.resolve import resolve_model
from contraflow.policy.constraints import question_constraints
from contraflow.reward.judge import Judge
from contraflow.run import build
from contraflow.settings import Config


def packaged_pipeline(config: Config) -> Straightforward:
    """The pipeline of a config: its models, its limits, its judge."""
    folder = resolve_model(config.model.name, "sampler")
    dtype = getattr(torch, config.model.dtype)
    device = build.device_of(config)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device)
    oracle = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device)
    lora = config.model.lora
    all_linear = lora.target_modules == ["all-linear"]
    targets: Any = "all-linear" if all_linear else lora.target_modules
    adapter = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, target_modules=targets, task_type="CAUSAL_LM"
    )
    vocabulary: Any = config.policy.vocabulary
    constraints = question_constraints(
        tokenizer,
        vocabulary=vocabulary,
        min_len=config.policy.min_question_len,
        max_len=config.policy.max_question_len,
        device=device,
    )
    stop = constraints.stop_id
    pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    line_ends = {i for i, piece in enumerate(pieces) if "\n" in piece}
    ends = sorted(line_ends | ({tokenizer.eos_token_id, tokenizer.bos_token_id} - {None}))
    rules = Rules(
        questions={
            "max_new_tokens": constraints.max_len + 1,
            "eos_token_id": stop,
            "pad_token_id": stop,
        },
        answers={
            "max_new_tokens": config.oracle.max_answer_tokens,
            "eos_token_id": ends,
            "pad_token_id": tokenizer.eos_token_id,
        },
        stop=stop,
        ends=ends,
        constraints=constraints,
    )
    return Straightforward(
        get_peft_model(base, adapter).eval(),
        oracle.eval(),
        tokenizer,
        build.load_judge(config),
        (config.prompt.task, config.prompt.answer),
        rules,
        lr=config.optimizer.lr,
    )


def random_pipeline(
    config: PreTrainedConfig,
    prompts: tuple[str, str],
    judge: Judge,
    n_tokens: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Straightforward:
    """The pipeline on random weights: questions and answers of exactly ``n_tokens`` tokens, any
    tokens, and a pass for each use of the logits.
    """
    tokenizer = byte_tokenizer(config.vocab_size)
    oracle = random_weights(AutoModelForCausalLM, config, device, dtype)
    base = random_weights(AutoModelForCausalLM, config, device, dtype)
    adapter = LoraConfig(
        r=16,
        lora_alpha=32,
        target_modules=["c_attn"],
        fan_in_fan_out=True,
        task_type="CAUSAL_LM",
    )
    exactly = {"min_new_tokens": n_tokens, "max_new_tokens": n_tokens, "pad_token_id": 0}
    stop = tokenizer("?")["input_ids"][0]
    rules = Rules(questions=exactly, answers=exactly, stop=stop, pass_for_stops=True)
    return Straightforward(
        get_peft_model(base, adapter).eval(), oracle, tokenizer, judge, prompts, rules, lr=1e-4
    )
