"""Write `trl_batch.json`: one batch of TRL's GRPOTrainer and RLOOTrainer, with loss and gradient.

    python -m venv --system-site-packages TRL && TRL/bin/pip install trl==1.16.0
    PYTHONPATH=src TRL/bin/python tests/gflownet/trl_numbers.py tests/gflownet/trl_batch.json

A tiny random Llama writes four completions for each of two prompts, after its weights were moved
away from the reference model's; the rewards are a fixed list. Everything else is TRL's: advantages,
log-probabilities, KL, loss, and the gradient in the log-probability of each token.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM

from contraflow.exactness.space import _tokenizer

REWARDS = [0.7, -1.2, 2.5, 0.1, -3.0, -0.4, 1.9, 1.9]
PROMPTS = ["ask the fact : a b"] * 4 + ["ask : c"] * 4


def save_model(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=0,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def one_batch(folder: Path, trainer_type: Any, config_type: Any, **options: Any) -> dict[str, Any]:
    torch.manual_seed(1)
    config = config_type(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=4,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        **options,
    )
    trainer = trainer_type(
        str(folder),
        reward_funcs=lambda **_: REWARDS,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": p} for p in PROMPTS[::4]]),
        processing_class=_tokenizer(),
    )
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    batch = trainer._generate_and_score_completions([{"prompt": p} for p in PROMPTS])
    log_probs = trainer._get_per_token_logps_and_entropies
    mask = batch["completion_mask"]
    whole = [
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
        torch.cat([batch["prompt_mask"], mask], 1),
        mask.shape[1],
    ]
    with torch.no_grad():
        log_ref = log_probs(trainer.ref_model, *whole)[0]
    found: list[torch.Tensor] = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = log_probs(*args, **kwargs)
        result[0].retain_grad()
        found.append(result[0])
        return result

    trainer._get_per_token_logps_and_entropies = watched
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    (log_pf,) = found
    return {
        "beta": options["beta"],
        "lengths": mask.sum(1).tolist(),
        "log_pf": (log_pf * mask).tolist(),
        "log_ref": (log_ref * mask).tolist(),
        "advantages": batch["advantages"].tolist(),
        "loss": loss.item(),
        "grad": (log_pf.grad * mask).tolist(),
    }


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder)
        grpo = one_batch(folder, trl.GRPOTrainer, trl.GRPOConfig, beta=0.04, loss_type="grpo")
        rloo = one_batch(folder, trl.RLOOTrainer, trl.RLOOConfig, beta=0.5)
    shared = {key: grpo.pop(key) for key in ("lengths", "log_pf", "log_ref")}
    assert shared == {key: rloo.pop(key) for key in shared}
    batch = {"version": trl.__version__, "rewards": REWARDS, **shared, "grpo": grpo, "rloo": rloo}
    out.write_text(json.dumps(batch, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
