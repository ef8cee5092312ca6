"""WebSocket clients that nobody here wrote: Python's `websockets` and npm's `ws`. Chromium's is in js/test/browser."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.clients.node import needs_node
from tests.lines.wire import Wire, settings
from tests.live import LiveServer
from tests.waiting import PATIENCE, eventually


@pytest.fixture(scope="module", params=["plain", "deflate"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with LiveServer(*settings(f"wait.websocket_deflate={'true' if request.param == 'deflate' else 'false'}")) as server:
        yield Wire(server)


def url(wire: Wire, target: str = "/") -> str:
    return "ws://%s:%d%s" % (*wire.wait, target)


def opened(wire: Wire, target: str = "/", **options: Any) -> ClientConnection:
    return connect(url(wire, target), open_timeout=PATIENCE, close_timeout=PATIENCE, **options)


def heard(socket: ClientConnection) -> Any:
    """The next that is no heartbeat."""
    while "at" in (value := json.loads(socket.recv(PATIENCE))):
        pass
    return value


def test_websockets(wire: Wire) -> None:
    a, b = wire.prefix(), wire.prefix()
    with opened(wire, f"/?identifier={a}", subprotocols=["rplx.1"]) as socket:
        assert socket.subprotocol == "rplx.1"
        assert heard(socket)["gaps"] == []
        wire.send(a, json.dumps("long " * 1000))
        assert heard(socket)["data"] == "long " * 1000
        assert socket.ping().wait(PATIENCE)
        socket.send(json.dumps({"listen": {b: None}}))
        heard(socket)
        assert wire.online(b) == f"{b} 1\n"
        socket.send(iter(['{"stop":', f'["{a}"]', "}"]))  # in fragments
        eventually(lambda: wire.online(a), f"{a} 0\n")
        wire.send(b, "1")
        assert heard(socket)["data"] == 1
    assert socket.close_code == 1000
    eventually(lambda: wire.online(b), f"{b} 0\n")


def test_what_websockets_is_told(wire: Wire) -> None:
    with opened(wire) as socket:
        socket.send(b"binary")
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(PATIENCE)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003
    with opened(wire) as socket:
        socket.send("x" * 70_000)
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(PATIENCE)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009  # compressed it is short, and counts as it was
    with pytest.raises(InvalidStatus) as refused:
        opened(wire, origin="https://foreign.example")
    assert refused.value.response.status_code == 403


def test_many_messages_in_order(wire: Wire) -> None:
    a = wire.prefix()
    with opened(wire, f"/?identifier={a}") as socket:
        heard(socket)
        for number in range(200):
            wire.send(a, json.dumps([number, "x" * (number * 7)]))
        assert [heard(socket)["data"][0] for _ in range(200)] == list(range(200))


@needs_node
def test_ws(wire: Wire) -> None:
    a, b = wire.prefix(), wire.prefix()
    command = ["node", str(Path(__file__).with_name("websocket.mjs")), url(wire, f"/?identifier={a}")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdin is not None
        assert node.stdout is not None

        def say(line: str) -> None:
            assert node.stdin is not None
            node.stdin.write(line + "\n")
            node.stdin.flush()

        def said() -> list[Any]:
            assert node.stdout is not None
            while True:
                found: list[Any] = json.loads(node.stdout.readline())
                if found[0] != "message" or "at" not in found[1]:
                    return found

        assert said()[:2] == ["open", "rplx.1"]
        assert said()[1]["gaps"] == []
        wire.send(a, json.dumps("long " * 1000))
        assert said()[1]["data"] == "long " * 1000
        say("ping")
        assert said() == ["pong", "are you there?"]
        say(json.dumps({"listen": {b: None}}))
        assert said()[1]["gaps"] == []
        wire.send(f"{a},{b}", "1")
        assert sorted(said()[1]["ids"]) == sorted([a, b])
        say("close")
        assert said() == ["close", 1000, ""]
        node.stdin.close()


def test_the_end_of_the_server() -> None:
    with LiveServer(*settings("server.drain=1")) as server, opened(Wire(server), "/?identifier=a") as socket:
        heard(socket)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(PATIENCE)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4200
        assert json.loads(caught.value.rcvd.reason)["retry"] >= 1
