"""Listeners that read nothing of long answers: what many get is held once, and what is held in all has a limit."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from tests.lines.wire import Wire, http, settings
from tests.live import LiveServer
from tests.waiting import PATIENCE, eventually

MESSAGES, SIZE = 30, 20_000  # more than a socket takes by itself
LISTENERS = 150


def memory(server: LiveServer) -> int:
    """Bytes that the server holds."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert match
    return int(match[1]) * 1024


def filled(wire: Wire, id: str) -> None:
    for number in range(MESSAGES):
        wire.send(id, f'"{number}{"x" * SIZE}"')


def silent_reader(wire: Wire, ids: str, *, keep: bool) -> socket.socket:
    """Asks, and reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(wire.wait)
    close = "" if keep else "\nConnection: close"
    sock.sendall(http(f"GET /?identifier={ids} HTTP/1.1\nHost: x{close}"))
    return sock


def rest(sock: socket.socket) -> bytes:
    sock.settimeout(PATIENCE)
    data = b""
    while part := sock.recv(1 << 20):
        data += part
    return data


def test_what_many_get_is_held_once() -> None:
    with LiveServer(*settings("wait.write_timeout=600", "wait.unsent_max=1000000")) as server:
        wire = Wire(server)
        filled(wire, "a")
        silent_reader(wire, "1:a", keep=False).close()
        before = memory(server)
        readers = [silent_reader(wire, "1:a", keep=bool(number % 2)) for number in range(LISTENERS)]
        eventually(lambda: wire.online("a"), "a 0\n")  # all have been answered
        late = silent_reader(wire, "1:a", keep=False)
        assert rest(late).count(b'"data": ') == MESSAGES
        assert memory(server) - before < LISTENERS * MESSAGES * SIZE / 4
        assert rest(readers[0]).count(b'"data": ') == MESSAGES  # nobody was dropped
        assert not [line for line in server.log if "slow reader" in line]
        for sock in (late, *readers):
            sock.close()


def test_what_is_delivered_to_many_is_held_once() -> None:
    with LiveServer(*settings("wait.write_timeout=600", "in.maxlen=2000000", "wait.unsent_max=1000000")) as server:
        wire = Wire(server)
        readers = [silent_reader(wire, "a", keep=bool(number % 2)) for number in range(LISTENERS)]
        eventually(lambda: wire.online("a"), f"a {LISTENERS}\n")
        before = memory(server)
        wire.send("a", f'"{"x" * MESSAGES * SIZE}"')
        eventually(lambda: wire.online("a"), "a 0\n")
        assert memory(server) - before < LISTENERS * MESSAGES * SIZE / 4
        assert len(rest(readers[0])) > MESSAGES * SIZE
        for sock in readers:
            sock.close()


def test_past_the_limit_who_waits_longest_is_dropped() -> None:
    with LiveServer(*settings("wait.write_timeout=600", "wait.unsent_max=1500000")) as server:
        wire = Wire(server)
        filled(wire, "a")
        readers = []
        for number in range(4):  # each with an answer of its own
            wire.send(f"b{number}", "1")
            readers.append(silent_reader(wire, f"1:a,1:b{number}", keep=False))
            eventually(lambda number=number: wire.online(f"b{number}"), f"b{number} 0\n")  # type: ignore[misc]
        server.wait_for("slow reader was dropped: more than wait.unsent_max")
        for sock in readers[2:]:
            assert rest(sock).count(b'"data": ') >= MESSAGES
        for sock in readers[:2]:
            try:
                assert len(rest(sock)) < MESSAGES * SIZE
            except ConnectionResetError:
                pass
        again = silent_reader(wire, "1:a,1:b0", keep=False)
        assert rest(again).count(b'"data": ') == MESSAGES + 1  # from where it was
