"""A browser with a WebSocket, as a listener of the soak: what is a poll of the others is what has come next here."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from gevent import socket
from gevent.socket import timeout as SocketTimeout

from rplx.protocol.websocket import Opcode
from tests.protocol.frames import frame
from tests.soak.clients import HANDSHAKE, PATIENCE, Address, Answer, Dropped, Listener, connect, marker
from tests.soak.followers import Follower

EXTRA = [f"extra{number}" for number in range(20)]  # channels that it adds and drops, and into which nobody sends
TALKS = 0.1  # of the times that it waits for something it says something first


class SocketListener(Listener):
    """It goes on from its cursors on one connection after another. `chance` says when it adds and drops channels."""

    def __init__(self, address: Address, chance: random.Random, *, source: str = "") -> None:
        super().__init__(address, "websocket", source=source)
        self._chance = chance
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

        The rest as for Listener.poll.
        """
        try:
            sock = self._sock or self._opened(cursors)
            sock.settimeout(PATIENCE if patience is None else patience)
            if self._chance.random() < TALKS:
                self._talk(sock, next(iter(cursors)))
            return self._next(sock, take, opens=bool(query))
        except SocketTimeout:
            self.drop(hard=hard)
            if patience is None:
                raise
            raise Dropped from None
        except (Dropped, OSError):
            self.drop(hard=hard)
            raise

    def drop(self, *, hard: bool) -> None:
        super().drop(hard=hard)
        self._data = b""

    def _opened(self, cursors: Mapping[str, str | None]) -> socket.socket:
        """Half of the times the channels stand in the target, else they are said."""
        self._sock = sock = connect(self.address, source=self._source)
        self.connections += 1
        in_target = self._chance.random() < 0.5
        sock.sendall((HANDSHAKE % (f"?{marker(cursors)}" if in_target else "")).encode())
        while b"\r\n\r\n" not in self._data:
            self._receive(sock)
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"no WebSocket but {head[:80]!r}")
        if not in_target:
            self._say(sock, {"listen": dict(cursors)})
        return sock

    def _talk(self, sock: socket.socket, id: str) -> None:
        """Says something that changes nothing of what is due: by it the member leaves its set and comes back."""
        said = self._chance.randrange(4)
        if said == 0:
            sock.sendall(frame(Opcode.PING, b"x"))
        elif said == 1:
            self._say(sock, {"listen": {id: None}})  # goes on where it is
        elif said == 2:
            self._say(sock, {"listen": {self._chance.choice(EXTRA): None}})
        else:
            self._say(sock, {"stop": EXTRA})

    def _say(self, sock: socket.socket, value: object) -> None:
        sock.sendall(frame(Opcode.TEXT, json.dumps(value).encode()))

    def _next(self, sock: socket.socket, take: int | None, *, opens: bool) -> Answer:
        answer = Answer()
        taken = 0
        while not (answer.blocks or (opens and answer.position)):
            while (found := self._frame()) is not None:
                self._add(answer, *found)
            if not (answer.blocks or (opens and answer.position)):
                taken += self._receive(sock)
                if take is not None and taken >= take:
                    raise Dropped
        return answer

    def _receive(self, sock: socket.socket) -> int:
        part = sock.recv(65536)
        if not part:
            raise ConnectionError(f"a WebSocket ended, with {self._data!r}")
        self._data += part
        return len(part)

    def _frame(self) -> tuple[int, bytes] | None:
        """Takes the next frame, its first byte and its payload, if it has come whole."""
        data = self._data
        if len(data) < 4:
            return None
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        self._data = data[start + size :]
        return data[0], data[start : start + size]

    def _add(self, answer: Answer, first: int, payload: bytes) -> None:
        if first == 0x8A:
            return
        if first != 0x81:
            raise ConnectionError(f"an unexpected frame, {first:#x} {payload!r}")
        value = json.loads(payload)
        if "data" in value:
            answer.blocks.append((value["ids"], json.dumps(value["data"])))
        else:
            answer.position = value.get("open", answer.position)
            answer.gaps |= frozenset(value.get("gaps", ())) | frozenset(value.get("gap", ()))


class SocketFollower(Follower):
    """A follower by WebSocket."""

    def __init__(self, address: Address, *given: Any) -> None:
        super().__init__(address, *given)
        self.listener = SocketListener(address, self._chance)
