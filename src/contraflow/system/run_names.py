"""The folder of a run that is given by name: a path, or the sampler that ships with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

SHIPPED = "shipped"
UNTRAINED = "untrained"


def run_folder(run: str | Path) -> Path:
    """Return the folder of a run; of `shipped`, the packaged one."""
    if str(run) == SHIPPED:
        return Path(str(resources.files("contraflow"))) / "assets" / "sampler"
    return Path(run).expanduser()
