"""Which causal language models the shared-prefix attention supports, and their context length.

GPT-2, Llama (SmolLM), Qwen2, OPT and GPT-NeoX (Pythia) are tested. Any other model works if it
calls attention through transformers' attention interface and does not change the scores itself.
The rest are refused by name, here or by the comparison in `probe.py`: they would run without an
error and return wrong results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contraflow.errors import UserError

TESTED = "GPT-2, Llama/SmolLM, Qwen2, OPT and GPT-NeoX/Pythia"


def check_architecture(model: nn.Module) -> None:
    """Check that the model's attention implementation can be replaced.

    Raises: UserError when the model does not use transformers' attention interface.
    """
    if not getattr(model, "_supports_attention_backend", False):
        reason = "its attention cannot share a prefix between questions"
        raise unsupported(type(model).__name__, reason)


class UnsupportedArchitectureError(UserError):
    """An architecture that cannot be the sampler; by its own `generate()` it can still answer."""

    def __init__(self, architecture: str, reason: str) -> None:
        super().__init__(
            f"{architecture} cannot be the sampler here: {reason}; "
            f"choose another checkpoint ({TESTED} work)"
        )
        self.architecture = architecture
        self.reason = reason


def unsupported(architecture: str, reason: str) -> UnsupportedArchitectureError:
    """Return the one-line error for an architecture that cannot be used."""
    return UnsupportedArchitectureError(architecture, reason)


def max_positions(config: Any) -> int:
    """Return the longest sequence, in tokens, that every layer attends to in full.

    That is the number of positions, or the sliding window or attention chunk where it is shorter,
    since the masks built here have neither. A window that the config disables
    (`use_sliding_window`) is ignored.
    """
    config = config.get_text_config(decoder=True)  # the config itself, unless it nests others
    keys = ["max_position_embeddings", "n_positions", "attention_chunk_size"]
    if getattr(config, "use_sliding_window", True):
        keys.append("sliding_window")
    limits = [getattr(config, key, None) for key in keys]
    return min((int(limit) for limit in limits if limit), default=1 << 30)


def context_length(config: Any) -> int:
    """Return the longest sequence, in tokens, that a model's own forward pass takes."""
    config = config.get_text_config(decoder=True)
    limits = [getattr(config, key, None) for key in ("max_position_embeddings", "n_positions")]
    return min((int(limit) for limit in limits if limit), default=1 << 30)


@dataclass(frozen=True)
class LogitTransform:
    """What some architectures do to the output of the LM head; `probe.py` checks that it is all."""

    scale: float  # Granite divides by `logits_scaling`, Cohere multiplies by `logit_scale`
    cap: float | None  # Gemma: cap * tanh(logits / cap)

    @classmethod
    def of(cls, config: Any) -> LogitTransform:
        """The transform that a config describes; the identity for most."""
        config = config.get_text_config(decoder=True)
        scale = getattr(config, "logit_scale", None) or 1.0
        divisor = getattr(config, "logits_scaling", None) or 1.0
        return cls(scale / divisor, getattr(config, "final_logit_softcapping", None))

    def __call__(self, logits: Tensor) -> Tensor:
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.cap is not None:
            logits = self.cap * torch.tanh(logits / self.cap)
        return logits

    def slope(self, logits: Tensor) -> Tensor | float:
        """The derivative by the head's output, at logits that are already transformed."""
        if self.cap is None:
            return self.scale
        return self.scale * (1 - (logits / self.cap).square())
