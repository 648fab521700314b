"""A head that has ended, and one that is only slow."""

from __future__ import annotations

import socket

import pytest

from contraflow.actors.head import Head
from contraflow.errors import UserError


@pytest.fixture
def listening() -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


@pytest.fixture
def clock() -> list[float]:
    """The time that the head is told; a test moves it on."""
    return [0.0]


def head_of(server: socket.socket, clock: list[float]) -> Head:
    return Head(f"127.0.0.1:{server.getsockname()[1]}", lambda: clock[0])


def test_a_head_that_listens_is_alive(listening: socket.socket, clock: list[float]):
    watched = head_of(listening, clock)
    for second in range(0, 100, 5):
        clock[0] = float(second)
        watched.check()
    listening.close()


def test_a_head_that_refuses_for_long_has_ended(listening: socket.socket, clock: list[float]):
    watched = head_of(listening, clock)
    listening.close()
    for second in range(0, 20, 5):
        clock[0] = float(second)
        watched.check()
    clock[0] = 20.0
    with pytest.raises(UserError, match=r"has ended; start the same command again"):
        watched.check()


def test_a_head_that_was_restarted_counts_from_anew(listening: socket.socket, clock: list[float]):
    watched = head_of(listening, clock)
    address = listening.getsockname()
    listening.close()
    for second in (0, 15):
        clock[0] = float(second)
        watched.check()
    with socket.create_server(address):
        clock[0] = 20.0
        watched.check()
    clock[0] = 30.0
    watched.check()


def test_it_is_not_asked_all_the_time(listening: socket.socket, clock: list[float]):
    watched = head_of(listening, clock)
    watched.check()
    listening.close()
    clock[0] = 4.0
    watched.check()
    assert watched._refused_since is None
