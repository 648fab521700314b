"""The content of a sampler: a part of the keys of what it has drawn."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contraflow.run.session import Run


def sampler_identity(run: Run) -> str:
    """16 hex digits of all that the probabilities of a sampler's questions depend on."""
    state = {
        name: parameter
        for name, parameter in run.policy.lm.model.named_parameters()
        if "lora_" in name
    }
    digest = hashlib.sha256(f"{run.policy.lm.identity}{run.policy.prompt.identity}".encode())
    digest.update(json.dumps(asdict(run.config.policy), sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
