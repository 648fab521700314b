"""contraflow: a GFlowNet that teaches a language model to ask contradictory questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Config",
    "Fact",
    "UserError",
    "audit",
    "compose_config",
    "default_facts",
    "open_run",
    "read_facts",
    "train",
]

if TYPE_CHECKING:
    from contraflow.auditing.session import audit
    from contraflow.errors import UserError
    from contraflow.facts import Fact, default_facts, read_facts
    from contraflow.run.session import open_run
    from contraflow.settings import Config
    from contraflow.settings.compose import compose_config
    from contraflow.training.job import train

_MODULE_OF = {
    "Config": "contraflow.settings",
    "Fact": "contraflow.facts",
    "UserError": "contraflow.errors",
    "audit": "contraflow.auditing.session",
    "compose_config": "contraflow.settings.compose",
    "default_facts": "contraflow.facts",
    "open_run": "contraflow.run.session",
    "read_facts": "contraflow.facts",
    "train": "contraflow.training.job",
}


def __getattr__(name: str) -> Any:
    # Imported on first access, so that `contraflow --help` does not wait for torch.
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'contraflow' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULE_OF[name]), name)
