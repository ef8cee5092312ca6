"""wait.max_connections and wait.max_connections_per_address: the refused count for nothing, also across reloads."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.lines.wire import PATIENCE, Conversation, Wire, settings
from tests.live import LiveServer
from tests.waiting import eventually

POSITION = b"GET /?identifier=a&position HTTP/1.1\r\nHost: h\r\n\r\n"


def status(conversation: Conversation) -> bytes:
    return conversation.until(b"\r\n").split(b" ")[1]


def served(wire: Wire, count: int) -> list[Conversation]:
    """So many connections, all of them served."""
    found = []
    for _ in range(count):
        conversation = wire.on_wait(POSITION)
        assert status(conversation) == b"200"
        found.append(conversation)
    return found


def refused(wire: Wire) -> None:
    """One more is refused, and leaves no trace."""
    conversation = wire.on_wait(POSITION)
    assert status(conversation) == b"503"
    conversation.rest()
    conversation.close()


def leave(conversations: list[Conversation]) -> None:
    for conversation in conversations:
        conversation.end()
        conversation.rest()
        conversation.close()


@pytest.mark.parametrize(
    "limits",
    [
        ("wait.max_connections=3",),
        ("wait.max_connections_per_address=3",),
        ("wait.max_connections=3", "wait.max_connections_per_address=3"),
        ("wait.max_connections=3", "wait.max_connections_per_address=2"),
        ("wait.max_connections=2", "wait.max_connections_per_address=3"),
    ],
)
def test_the_refused_do_not_count(limits: tuple[str, ...]) -> None:
    room = min(int(limit.partition("=")[2]) for limit in limits)
    with LiveServer(*settings(*limits)) as server:
        wire = Wire(server)
        for _ in range(3):
            held = served(wire, room)
            for _ in range(4):
                refused(wire)
            leave(held)


def test_nor_do_those_of_an_address_that_has_no_other() -> None:
    """Refused since there are too many in all, they do not count for their own address either."""
    with LiveServer(*settings("wait.max_connections=1", "wait.max_connections_per_address=1")) as server:
        wire = Wire(server)
        held = served(wire, 1)
        for _ in range(4):
            with socket.create_connection(wire.wait, PATIENCE, ("127.0.0.2", 0)) as other:
                other.sendall(POSITION)
                assert other.recv(65536).startswith(b"HTTP/1.1 503 ")
        leave(held)
        with socket.create_connection(wire.wait, PATIENCE, ("127.0.0.2", 0)) as other:
            other.sendall(POSITION)
            assert other.recv(65536).startswith(b"HTTP/1.1 200 ")


class TestReload:
    def start(self, file: Path, *lines: str) -> LiveServer:
        self.write(file, *lines)
        return LiveServer("--config", str(file))

    def write(self, file: Path, *lines: str) -> None:
        file.write_text("\n".join(["[wait]", *lines, ""]))

    def reload(self, server: LiveServer, file: Path, *lines: str) -> None:
        self.write(file, *lines)
        before = sum("SIGHUP received" in line for line in server.log)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: sum("SIGHUP received" in line for line in server.log), before + 1)
        eventually(lambda: "is changed" in server.log[-1], True)

    @pytest.mark.parametrize("option", ["max_connections", "max_connections_per_address"])
    def test_turned_on_lowered_raised_and_off(self, tmp_path: Path, option: str) -> None:
        file = tmp_path / "rplx.toml"
        with self.start(file, f"{option} = 0") as server:
            wire = Wire(server)
            held = served(wire, 4)
            self.reload(server, file, f"{option} = 5")  # those that are open already count
            held += served(wire, 1)
            refused(wire)
            self.reload(server, file, f"{option} = 2")  # they stay, and nobody comes until there is room
            refused(wire)
            leave(held[:3])
            refused(wire)
            leave(held[3:4])
            held = held[4:] + served(wire, 1)
            refused(wire)
            self.reload(server, file, f"{option} = 3")
            held += served(wire, 1)
            refused(wire)
            self.reload(server, file, f"{option} = 0")
            held += served(wire, 5)
            leave(held)
            self.reload(server, file, f"{option} = 1")
            held = served(wire, 1)
            refused(wire)
            leave(held)
            served(wire, 1)


def test_the_log_tells_it_once() -> None:
    limits = settings("wait.max_connections=2", "wait.max_connections_per_address=1")
    with LiveServer(*limits) as server:
        wire = Wire(server)
        held = served(wire, 1)
        for _ in range(3):
            refused(wire)
        leave(held)
        line = r"WAIT: 127\.0\.0\.1: refused, more than 1 connections from one address \(wait\.max_connections_per_add"
        server.wait_for(line)
        assert sum("refused" in line for line in server.log) == 1
