"""Two real processes over gloo, run once for all tests that read what they wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contraflow.distributed.launch import launch, log_of
from support.forked import ODD_RANKS, ForkServer, serving
from support.processes import child_environment
from support.runs import write_tiny_facts


@pytest.fixture(scope="session")
def rank_server(fork_server: ForkServer) -> Iterator[ForkServer]:
    """Forks odd ranks from another process, in which strings have other hashes."""
    with serving() as odd, pytest.MonkeyPatch.context() as patch:
        patch.setenv(ODD_RANKS, odd.address)
        yield fork_server


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory, rank_server: ForkServer) -> Path:
    """The folder in which `support.two_ranks` has run as rank 0 and as rank 1."""
    folder = tmp_path_factory.mktemp("two_ranks")
    write_tiny_facts(folder / "facts.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in child_environment().items():
            patch.setenv(name, value)
        code = launch(rank_server.command("support.two_ranks:main", str(folder)), 2, folder)
    assert code == 0, log_of(folder, 1).read_text()
    return folder
