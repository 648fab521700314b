"""An eager and a static decoder on the same prompts, and a policy that can switch between them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.decoder import Decoder, EagerDecoder
from contraflow.models.decoding.static_decoding import StaticDecoder, StaticSteps
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.settings.models import LoraConfig
from contraflow.text.prompts import task_prompt

HEADER = "fact : the capital of rome"
PROMPTS = [[3, 4, 5], [6, 7, 8, 9, 10, 11], [12]]  # of unequal length: padded on the left
N_TOKENS = 6


def both(lm: CausalLM, header: str = HEADER) -> tuple[Decoder, Decoder, StaticSteps]:
    """Return an eager and a static decoder of the same prompts, and the steps of the static one."""
    made, actions = StaticSteps(), torch.tensor([*range(3, 18), 1])
    prefix = lm.prefix_cache(header)
    eager = EagerDecoder(lm, lm.prefill(prefix, PROMPTS), N_TOKENS, actions)
    static = StaticDecoder(lm, lm.prefill(prefix, PROMPTS), N_TOKENS, actions, made)
    return eager, static, made


def policies(lm: CausalLM) -> tuple[LoraPolicy, Callable[[str], None]]:
    """Return a policy with a non-zero adapter, and a function that switches its decoding."""
    constraints = question_constraints(lm.tokenizer, vocabulary="latin", min_len=2, max_len=6)
    prompt = task_prompt(HEADER + "\nfact : {edit_fact}\nask :")
    policy = LoraPolicy(lm, prompt, constraints, LoraConfig(r=4, alpha=8))
    with torch.no_grad():
        for name, parameter in lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(3))

    def switch(decoding: str) -> None:
        lm.decoding = decoding  # type: ignore[assignment]

    return policy, switch
