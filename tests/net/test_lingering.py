"""Connections that end while their clients may still send: the answer is read, not eaten by a reset."""

from __future__ import annotations

import _socket
import socket
import time
from collections.abc import Iterator

import gevent
import pytest

from rplx.net import lingering
from rplx.net.lingering import Lingering
from tests.waiting import eventually

PATIENCE = 60.0  # seconds until something that has to come is missed


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def pair(listening: socket.socket) -> tuple[_socket.socket, socket.socket]:
    """Both ends of a connection, ours as the bare socket that the server has."""
    client = socket.create_connection(listening.getsockname(), timeout=PATIENCE)
    ours, _ = listening.accept()
    return _socket.socket(fileno=ours.detach()), client


def left(waiting: Lingering, count: int) -> None:
    eventually(lambda: len(waiting), count)


def is_refused(client: socket.socket) -> bool:
    """Whether what the client sends is answered by a reset."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            client.sendall(b"x")
        except ConnectionError:
            return True
        time.sleep(0.01)
    return False


def test_what_still_comes_is_thrown_away(listening: socket.socket) -> None:
    waiting = Lingering()
    ours, client = pair(listening)
    client.sendall(b"x" * 100_000)
    ours.send(b"the answer", _socket.MSG_MORE)
    waiting.add(ours)
    for _ in range(5):
        client.sendall(b"x" * 100_000)
        gevent.sleep(0.005)
    assert client.recv(100) == b"the answer"
    assert client.recv(100) == b""
    assert len(waiting) == 1
    client.close()
    left(waiting, 0)


def test_who_has_ended_before(listening: socket.socket) -> None:
    waiting = Lingering()
    ours, client = pair(listening)
    client.shutdown(socket.SHUT_WR)
    ours.send(b"the answer")
    waiting.add(ours)
    left(waiting, 0)
    assert client.recv(100) == b"the answer"


def test_who_has_reset(listening: socket.socket) -> None:
    waiting = Lingering()
    ours, client = pair(listening)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    waiting.add(ours)
    assert len(waiting) == 0


def test_who_never_ends(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGER", 0.01)
    waiting = Lingering()
    clients = []
    for _ in range(3):
        ours, client = pair(listening)
        waiting.add(ours)
        clients.append(client)
    waiting.wait(PATIENCE)
    assert all(map(is_refused, clients))


def test_too_many(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest makes room."""
    monkeypatch.setattr(lingering, "LINGERING_MAX", 3)
    waiting = Lingering()
    ends = [pair(listening) for _ in range(5)]
    for ours, _ in ends:
        waiting.add(ours)
        assert len(waiting) <= 3
    assert [ours.fileno() < 0 for ours, _ in ends] == [True, True, False, False, False]
    for _, client in ends:
        client.close()
    left(waiting, 0)
