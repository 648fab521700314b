"""A server of processes that train beside the one that tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.processes import ForkServer


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Forks children that call functions of `support.runs`, above all `train`."""
    server = ForkServer("support.runs")
    yield server
    server.close()
