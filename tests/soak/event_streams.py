"""A browser with an EventSource, as a listener of the soak: what is a poll of the others is what has come next here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from gevent import socket

from tests.event_source import events
from tests.soak.clients import PATIENCE, Address, Answer, Listener, connect, marker

_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")


def take_chunk(data: bytes) -> tuple[bytes, bytes] | None:
    """The first chunk and what lies behind it; None if it is not whole."""
    match = _CHUNK.match(data)
    end = match.end() + int(match[1], 16) if match else 0
    if not match or len(data) < end + 2:
        return None
    return data[match.end() : end], data[end + 2 :]


class StreamListener(Listener):
    """It goes on from the last event's id on one connection after another, as browsers do."""

    def __init__(self, address: Address, *, source: str = "") -> None:
        super().__init__(address, "stream", source=source)
        self._mark = ""
        self._data = b""

    def poll(
        self,
        cursors: Mapping[str, str | None],
        *,
        query: str = "",
        patience: float | None = None,
        take: int | None = None,
        hard: bool = False,
    ) -> Answer:
        """Returns when a message has come, with all that have come with it; with a `query` when it is open, too.

        Errors: OSError.
        """
        answer = Answer()
        try:
            sock = self._sock or self._opened(cursors)
            while not (answer.blocks or (query and answer.position)):
                while (taken := take_chunk(self._data)) is not None:
                    self._data = taken[1]
                    self._add(answer, taken[0])
                if not (answer.blocks or (query and answer.position)):
                    part = sock.recv(65536)
                    if not part:
                        raise ConnectionError("a stream ended")
                    self._data += part
        except OSError:
            self.drop(hard=False)
            raise
        return answer

    def _opened(self, cursors: Mapping[str, str | None]) -> socket.socket:
        self._sock = sock = connect(self.address, source=self._source)
        self.connections += 1
        resumed = f"Last-Event-ID: {self._mark}\r\n" if self._mark else ""
        sock.sendall(
            f"GET /?{marker(cursors)} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{resumed}\r\n".encode()
        )
        sock.settimeout(PATIENCE)
        self._data = b""
        while b"\r\n\r\n" not in self._data:
            part = sock.recv(4096)
            if not part:
                raise ConnectionError("no head came")
            self._data += part
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"refused: {head!r}")
        return sock

    def _add(self, answer: Answer, block: bytes) -> None:
        for event in events(block):
            self._mark = event.id or self._mark
            told = json.loads(event.data or "{}")
            if event.name == "open":
                answer.position = told["cursor"]
                answer.gaps |= frozenset(told["gaps"])
            elif event.name == "gap":
                answer.gaps |= frozenset(told["ids"])
            elif event.data:
                answer.blocks.append((told["ids"], json.dumps(told["data"])))
