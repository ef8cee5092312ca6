"""A WebSocket on the wire, frame by frame, with nothing between the test and the bytes."""

from __future__ import annotations

import json
from typing import Any

from rplx.protocol.websocket import Opcode
from tests.lines.wire import Conversation, Wire, http
from tests.protocol.frames import frame

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ASKED = f"Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: {KEY}"
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"\r\n"
)


def request(target: str, *lines: str) -> bytes:
    """A handshake."""
    return http("\n".join([f"GET {target} HTTP/1.1\nHost: h", ASKED, *lines]))


class Socket:
    """An open WebSocket, on a server or whatever listens at `address`."""

    def __init__(
        self,
        wire: Wire,
        ids: str = "",
        *lines: str,
        receive_buffer: int = 0,
        head: bytes = ACCEPTED,
        opens: bool = True,
    ) -> None:
        """`ids` are in the target; with none the socket says itself what it listens to. `opens`: takes `open`."""
        target = f"/?identifier={ids}" if ids else "/"
        self.conversation = Conversation(wire.wait, request(target, *lines), receive_buffer=receive_buffer)
        if head:
            assert self.conversation.exactly(len(head)) == head
        else:
            self.head = self.conversation.until(b"\r\n\r\n")
        self.opened = self.open() if opens else ""

    # -- out

    def send(self, data: bytes) -> None:
        self.conversation.send(data)

    def say(self, value: object) -> None:
        """Sends a message of JSON."""
        self.send(frame(Opcode.TEXT, json.dumps(value).encode()))

    # -- in

    def frame(self) -> tuple[int, bytes]:
        """The first byte and the payload of the next frame."""
        first, size = self.conversation.exactly(2)
        if size >= 126:
            size = int.from_bytes(self.conversation.exactly(2 if size == 126 else 8), "big")
        return first, self.conversation.exactly(size)

    def heard(self) -> Any:
        """The next text, as JSON; heartbeats are left out."""
        while True:
            first, payload = self.frame()
            assert first == 0x81, (first, payload)
            value = json.loads(payload)
            if "at" not in value:
                return value

    def open(self) -> str:
        """Takes the answer to what was asked to listen; returns the position."""
        value = self.heard()
        assert value["gaps"] == [], value
        return str(value["open"])

    def message(self) -> Any:
        """The data of the next message."""
        value = self.heard()
        assert "data" in value, value
        return value["data"]

    def closed(self) -> tuple[int, dict[str, Any]]:
        """The code and the reason with which the server closes; the connection ends behind it."""
        while (found := self.frame())[0] != 0x88:
            pass
        self.send(frame(Opcode.CLOSE, found[1]))
        assert self.conversation.rest() == b""
        code, reason = int.from_bytes(found[1][:2], "big"), found[1][2:]
        return code, json.loads(reason) if code >= 4000 else {}
