"""Whether the head of a Ray cluster still runs."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from contraflow.errors import UserError

EVERY_S = 5.0
PATIENCE_S = 20.0  # Ray's own is 60 s


class Head:
    """Notices that the cluster's head has ended, before Ray does, which then ends our process.

    A head that does not answer may be behind a network that stalls, and one that refuses for a
    short time may be restarted: Ray waits for both.
    """

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self._clock = clock
        self._next = clock()
        self._refused_since: float | None = None

    def check(self) -> None:
        """Try to connect every few seconds. Raises: UserError where it is refused for long."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + EVERY_S
        if not self._refuses():
            self._refused_since = None
            return
        if self._refused_since is None:
            self._refused_since = now
        if now - self._refused_since >= PATIENCE_S:
            raise UserError(
                f"the head of the Ray cluster at {self.address} has ended; start the same command "
                "again to go on from the last checkpoint"
            )

    def _refuses(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False
