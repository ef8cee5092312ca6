"""A follower by event stream: it hangs up in the middle of what comes, and resumes from the last whole event."""

from __future__ import annotations

import json

import gevent
from gevent import socket
from gevent.socket import timeout as SocketTimeout

from tests.event_source import Event, events
from tests.soak.clients import connect, reset
from tests.soak.event_streams import take_chunk
from tests.soak.followers import Drops, Follower

LOOK_EVERY = 0.05  # seconds between two looks at whether a hang-up is due
SHORT = 800  # bytes, at most, that are read before a hang-up


class StreamFollower(Follower):
    """Its form is "stream", with chunks, or "closing stream", which goes on to the end of the connection."""

    mark = ""

    def follow(self, load: Drops) -> None:
        """Listens for ever; hangs up as often as `load` wants it."""
        while True:
            try:
                self._listen(load)
            except OSError:
                self._count.errors += 1
                gevent.sleep(0.1)

    def _listen(self, load: Drops) -> None:
        """One connection. Errors: OSError."""
        version = "1.1" if self.listener.form == "stream" else "1.0"
        mark = self.mark or f"{next(iter(self.cursors.values()))}:*"
        sock = connect(self.listener.address)
        sock.sendall(
            f"GET /?identifier={','.join(self.cursors)} HTTP/{version}\r\nHost: x\r\nAccept: text/event-stream\r\n"
            f"Last-Event-ID: {mark}\r\n\r\n".encode()
        )
        data = b""
        while b"\r\n\r\n" not in data:
            part = sock.recv(4096)
            if not part:
                raise ConnectionError("no head came")
            data += part
        head, _, data = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"refused: {head!r}")
        while True:
            data = self._take_whole(data, chunked=version == "1.1")
            hangs_up = self.drops < load.drops_due()
            part = self._more(sock, hangs_up=hangs_up)
            if hangs_up:
                self._take_whole(data + part, chunked=version == "1.1")  # the rest is thrown away
                self.drops += 1
                self._count.reconnects += 1
                reset(sock) if self._chance.random() < 0.5 else sock.close()
                return
            data += part

    def _more(self, sock: socket.socket, *, hangs_up: bool) -> bytes:
        """What comes next, b"" if nothing has come for a moment. Errors: ConnectionError where the stream has ended."""
        sock.settimeout(self._chance.random() * 0.02 if hangs_up else LOOK_EVERY)
        try:
            part = sock.recv(self._chance.randrange(1, SHORT) if hangs_up else 65536)
        except SocketTimeout:
            return b""
        if not part:
            raise ConnectionError("a stream ended")
        return part

    def _take_whole(self, data: bytes, *, chunked: bool) -> bytes:
        """Takes the events that are whole; returns the rest."""
        while True:
            if chunked:
                taken = take_chunk(data)
                if taken is None:
                    return data
                block, data = taken
            else:
                block, blank, rest = data.partition(b"\n\n")
                if not blank:
                    return data
                block, data = block + blank, rest
            for event in events(block):
                self._take_event(event)

    def _take_event(self, event: Event) -> None:
        if event.id is not None:
            self.mark = event.id
        if event.name == "gap":
            self._count.gaps += 1
        elif event.data:
            told = json.loads(event.data)
            if event.name == "open":
                self._count.gaps += bool(told["gaps"])
            else:
                self._take(told["ids"], told["data"])
