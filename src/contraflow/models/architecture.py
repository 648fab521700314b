"""Which causal language models our attention can run, and how long a text they see whole.

GPT-2, Llama (SmolLM), Qwen2, OPT and GPT-NeoX (Pythia) are tested; so is every model that calls
attention through transformers' interface and does nothing of its own to the scores. Others are
refused by name, because they would not fail: they would compute something else.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from contraflow.errors import UserError

TESTED = "GPT-2, Llama/SmolLM, Qwen2, OPT and GPT-NeoX/Pythia"


def check_architecture(model: nn.Module) -> None:
    """Refuse a model that keeps its attention to itself, or has none. Raises: UserError."""
    if not getattr(model, "_supports_attention_backend", False):
        reason = "its attention cannot share a prefix between questions"
        raise unsupported(type(model).__name__, reason)


def unsupported(architecture: str, reason: str) -> UserError:
    """The one-line refusal of an architecture."""
    return UserError(
        f"{architecture} cannot be sampler or oracle here: {reason}; choose another checkpoint ({TESTED} work)"
    )


def max_positions(config: Any) -> int:
    """Positions that the model has, and no more than its sliding window: our masks have no window.

    A window that the config switches off (`use_sliding_window`) does not count.
    """
    limits = [getattr(config, key, None) for key in ("max_position_embeddings", "n_positions")]
    if getattr(config, "use_sliding_window", True):
        limits.append(getattr(config, "sliding_window", None))
    return min((int(limit) for limit in limits if limit), default=1 << 30)
