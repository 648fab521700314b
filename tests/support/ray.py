"""Whether Ray is installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

# Not by importing it, which takes a second in every process that collects tests.
needs_ray = pytest.mark.skipif(
    find_spec("ray") is None,
    reason="Ray is not installed: pip install 'contraflow[actors]'",
)
