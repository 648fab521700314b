"""Save and load a trained sampler: a PEFT adapter folder with the flow heads and a model card."""

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

SAMPLER_FILE = "sampler.json"  # prompt and constraints: what else sampling needs
FLOW_WEIGHTS = "flow_head.safetensors"
FLOW_SHAPE = "flow_head.json"


def save_adapter(policy: LoraPolicy, folder: Path, base_model: str, card: str) -> None:
    """Write the adapter folder; replaces an older one.

    It is written under a temporary name and renamed, so a reader never finds a partial adapter.

    Args:
        base_model: name of the backbone, as in `model.name`.
        card: contents of README.md, from `model_card`.
    """
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
    # PEFT writes the path of the local model folder, which other machines do not have.
    config["base_model_name_or_path"] = base_model
    (scratch / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    flow_weights = {k: v.contiguous() for k, v in policy.flow.state_dict().items()}
    save_file(flow_weights, scratch / FLOW_WEIGHTS)
    shape = {"hidden_size": policy.flow.hidden_size, "width": policy.flow.width}
    (scratch / FLOW_SHAPE).write_text(json.dumps(shape))
    description = _sampler_description(policy, base_model)
    (scratch / SAMPLER_FILE).write_text(json.dumps(description, indent=2))
    (scratch / "README.md").write_text(card)


def _sampler_description(policy: LoraPolicy, base_model: str) -> dict[str, object]:
    constraints = policy.constraints
    return {
        "base_model": base_model,
        "tokenizer": base_model,
        "task_prompt": policy.prompt.header + policy.prompt.body_template,
        "stop_token": policy.lm.decode([constraints.stop_id]),
        "min_question_len": constraints.min_len,
        "max_question_len": constraints.max_len,
        "n_actions": len(constraints.action_ids),
    }


def load_adapter(policy: LoraPolicy, folder: Path) -> None:
    """Load adapter and flow heads into a policy of the same shape; every tensor must match.

    Raises: UserError when the folder is not an adapter or was made with other settings.
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
    """Return the README.md of an adapter: description, settings, results, and how to load it.

    Args:
        settings: config keys and values, listed as they are.
        results: the results as Markdown.
    """
    setting_lines = "\n".join(f"- `{key}`: {value}" for key, value in settings.items())
    return f"""---
base_model: {base_model}
library_name: peft
pipeline_tag: text-generation
tags: [gflownet, contraflow, lora]
---

# contraflow sampler

A LoRA adapter for `{base_model}` that writes questions whose answers, by the frozen base model,
contradict an edit fact. Trained with a GFlowNet objective to sample questions in proportion to
their reward.

## How it was made

{setting_lines}

## What it measured

{results}

## Use

```python
from contraflow import open_run

run = open_run("FOLDER_OF_THE_RUN")
```

or, as any PEFT adapter, `PeftModel.from_pretrained(base_model, "adapter")`. The flow heads are in
`{FLOW_WEIGHTS}`. Questions are about what the *base model* believes; they are not statements of
fact.
"""
