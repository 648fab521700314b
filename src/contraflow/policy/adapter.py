"""A trained sampler on disk: an ordinary PEFT adapter folder with the flow head and a model card
beside it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from peft import set_peft_model_state_dict
from peft.utils import load_peft_weights
from safetensors.torch import load_file, save_file

from contraflow.errors import UserError
from contraflow.policy.lora import LoraPolicy

SAMPLER = "sampler.json"  # what else a stranger needs to draw the same questions
FLOW_WEIGHTS, FLOW_SHAPE = "flow_head.safetensors", "flow_head.json"


def save_adapter(policy: LoraPolicy, folder: Path, base_model: str, card: str) -> None:
    """Write the folder under a temporary name and rename it: no reader ever sees half an adapter."""
    scratch = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        _write(policy, scratch, base_model, card)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(policy: LoraPolicy, scratch: Path, base_model: str, card: str) -> None:
    policy.lm.adapter.save_pretrained(str(scratch), selected_adapters=["default"])
    config = json.loads((scratch / "adapter_config.json").read_text())
    # PEFT notes the folder of the cache; a name means the same on every machine.
    config["base_model_name_or_path"] = base_model
    (scratch / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    save_file(
        {k: v.contiguous() for k, v in policy.flow.state_dict().items()}, scratch / FLOW_WEIGHTS
    )
    shape = {"hidden_size": policy.flow.hidden_size, "width": policy.flow.width}
    (scratch / FLOW_SHAPE).write_text(json.dumps(shape))
    (scratch / SAMPLER).write_text(json.dumps(_about(policy, base_model), indent=2))
    (scratch / "README.md").write_text(card)


def _about(policy: LoraPolicy, base_model: str) -> dict[str, object]:
    limits = policy.constraints
    return {
        "base_model": base_model,
        "tokenizer": base_model,
        "task_prompt": policy.prompt.header + policy.prompt.body_template,
        "stop_token": policy.lm.decode([limits.stop_id]),
        "min_question_len": limits.min_len,
        "max_question_len": limits.max_len,
        "n_actions": len(limits.action_ids),
    }


def load_adapter(policy: LoraPolicy, folder: Path) -> None:
    """Load adapter and flow head into a policy of the same shape, strictly.

    Raises: UserError when the folder is no adapter or was made with other settings.
    """
    if not (folder / "adapter_model.safetensors").is_file():
        raise UserError(f"{folder}: no adapter_model.safetensors; train first (`contraflow train`)")
    try:
        weights = load_peft_weights(str(folder), device="cpu")
        result = set_peft_model_state_dict(policy.lm.adapter, weights)
        missing = [k for k in result.missing_keys if "lora_" in k]
        if missing or result.unexpected_keys:
            raise ValueError(f"tensors differ: {(missing + result.unexpected_keys)[:2]}")
        policy.flow.load_state_dict(load_file(folder / FLOW_WEIGHTS))
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"{folder}: does not fit the configured model ({str(error).splitlines()[0][:160]}); "
            "use the config.yaml that was saved with it"
        ) from error


def model_card(base_model: str, settings: Mapping[str, object], results: str) -> str:
    """README.md of an adapter: what it is, how it was made, how to load it."""
    lines = "\n".join(f"- `{key}`: {value}" for key, value in settings.items())
    return f"""---
base_model: {base_model}
library_name: peft
pipeline_tag: text-generation
tags: [gflownet, contraflow, lora]
---

# contraflow sampler

A LoRA adapter for `{base_model}` that writes questions whose answers, by the frozen base model, contradict an
edit fact. Trained with a GFlowNet objective to draw questions in proportion to their reward.

## How it was made

{lines}

## What it measured

{results}

## Use

```python
from contraflow import open_run

run = open_run("FOLDER_OF_THE_RUN")
```

or, as any PEFT adapter, `PeftModel.from_pretrained(base_model, "adapter")`. The flow head lies beside it in
`{FLOW_WEIGHTS}`. Questions are about what the *base model* believes; they are not statements of fact.
"""
