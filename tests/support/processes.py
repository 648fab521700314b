"""Child processes, and how to start them without importing torch."""

from __future__ import annotations

import os
import sys

# replay and seeding name torch in annotations only.
WITHOUT_TORCH = """
import sys, types
sys.modules["torch"] = types.ModuleType("torch")
sys.modules["torch"].Tensor = object
"""


def child_environment() -> dict[str, str]:
    """Return what a child needs to import the package and these helpers, on one thread."""
    return {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def program(code: str, *arguments: str) -> dict[str, object]:
    """Return arguments of `subprocess.run` for code that needs no torch."""
    return {
        "args": [sys.executable, "-c", WITHOUT_TORCH + code, *arguments],
        "env": {**os.environ, **child_environment()},
    }
