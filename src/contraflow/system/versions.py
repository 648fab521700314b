"""The versions of packages, also where contraflow runs from a source tree that is not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "unknown"


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package; ``unknown`` for one without metadata or a version."""
    return {name: _version(name) for name in packages}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(name), "__version__", UNKNOWN))
