"""WebSockets whose clients say more than they need to: others have their turns."""

from __future__ import annotations

import socket

import pytest

from tests.lines.socket_floods import FLOODS, Flood
from tests.lines.wire import Wire, settings
from tests.live import LiveServer
from tests.waiting import once_below

CROWD = 50
HELD = 0.04  # seconds of CPU; where a crowd's frames are taken all at once it is two to ten times as much


@pytest.mark.parametrize("kind", FLOODS)
def test_a_crowd_that_never_pauses(kind: str) -> None:
    """No turn of the loop takes long, however many have sent all that their sockets hold."""
    with LiveServer(*settings("wait.websocket_deflate=true"), program=("-m", "bench.held")) as server:
        match = server.wait_for(r"^held: (\S+):(\d+)$")
        asked = (match[1], int(match[2]))

        def held() -> float:
            flood = Flood(server.wait, CROWD, FLOODS[kind])
            _held_since(asked)
            wire = Wire(server)
            for number in range(10):
                wire.send(f"{number + 1}:other", "1")
                assert '"other"' in str(wire.poll(f"{number}.5:other"))
            assert flood.goes_on
            seconds = _held_since(asked)
            flood.end()
            return seconds

        once_below(HELD, held, tries=5)


def _held_since(address: tuple[str, int]) -> float:
    with socket.create_connection(address) as sock:
        return float(sock.makefile().read())
