"""Which causal language models the shared-prefix attention supports, and their context length.

GPT-2, Llama (SmolLM), Qwen2, OPT and GPT-NeoX (Pythia) are tested. Any other model works if it
calls attention through transformers' attention interface and does not change the scores itself.
The rest are refused by name: they would run without an error and return wrong results.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from contraflow.errors import UserError

TESTED = "GPT-2, Llama/SmolLM, Qwen2, OPT and GPT-NeoX/Pythia"


def check_architecture(model: nn.Module) -> None:
    """Check that the model's attention implementation can be replaced.

    Raises: UserError when the model does not use transformers' attention interface.
    """
    if not getattr(model, "_supports_attention_backend", False):
        reason = "its attention cannot share a prefix between questions"
        raise unsupported(type(model).__name__, reason)


def unsupported(architecture: str, reason: str) -> UserError:
    """Return the one-line error for an architecture that cannot be used."""
    return UserError(
        f"{architecture} cannot be sampler or oracle here: {reason}; "
        f"choose another checkpoint ({TESTED} work)"
    )


def max_positions(config: Any) -> int:
    """Return the longest sequence, in tokens, that every layer attends to in full.

    That is the number of positions, or the sliding window where it is shorter, since the masks
    built here have no window. A window that the config disables (`use_sliding_window`) is ignored.
    """
    limits = [getattr(config, key, None) for key in ("max_position_embeddings", "n_positions")]
    if getattr(config, "use_sliding_window", True):
        limits.append(getattr(config, "sliding_window", None))
    return min((int(limit) for limit in limits if limit), default=1 << 30)
