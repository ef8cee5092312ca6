"""Listeners and back-ends on gevent: what they send and receive is counted, and they can end in the middle of it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gevent import socket
from gevent.socket import timeout as SocketTimeout

Address = tuple[str, int]

PATIENCE = 60.0  # seconds until an answer that has to come is missed
FORMS = ("kept", "closed", "text")  # how a listener speaks: HTTP/1.1, HTTP/1.0, plain text

HANDSHAKE = (
    "GET /%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

_BLOCK = re.compile(rb'  \{\n    "ids": \{ ([^}]*) \},\n    "data":[ \n](.*)\n  \}')
_PAIR = re.compile(r'"(\w+)": "([\d.]+)"')
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset


class Dropped(Exception):
    """The listener ended its connection before its answer was there, as it was told to."""


@dataclass(slots=True)
class Answer:
    """A poll's answer. `blocks` has each message's ids with their cursors, and its text."""

    status: int = 200
    position: str = ""
    gaps: frozenset[str] = frozenset()
    blocks: list[tuple[dict[str, str], str]] = field(default_factory=list)


def marker(cursors: Mapping[str, str | None]) -> str:
    return "identifier=" + ",".join([f"{cursor}:{id}" if cursor else id for id, cursor in cursors.items()])


def connect(address: Address, *, receive_buffer: int = 0, source: str = "") -> socket.socket:
    """`source`: an address of loopback to come from: each has ports of its own."""
    sock = socket.socket()
    sock.settimeout(PATIENCE)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        sock.bind((source, 0))
    sock.connect(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def reset(sock: socket.socket) -> None:
    """Ends a connection without a goodbye."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


class Listener:
    """One browser: polls in its form, on one connection after another or on a kept one."""

    def __init__(self, address: Address, form: str = "kept", *, source: str = "") -> None:
        self.address = address
        self.form = form
        self._source = source
        self.connections = 0  # that it has opened
        self._sock: socket.socket | None = None

    def poll(
        self,
        cursors: Mapping[str, str | None],
        *,
        query: str = "",
        patience: float | None = None,
        take: int | None = None,
        hard: bool = False,
    ) -> Answer:
        """One poll, to its end.

        With `patience` the listener hangs up when no byte has come for so many seconds, with `take` behind so many
        bytes, `hard` with a reset; then Dropped. Errors: OSError, which the server is to blame for.
        """
        fresh = self._sock is None
        sock = self._sock or connect(self.address, source=self._source)
        if fresh:
            self.connections += 1
        self._sock = sock
        sock.settimeout(PATIENCE if patience is None else patience)
        try:
            sock.sendall(self._request(cursors, query))
            return self._whole(sock, take)
        except SocketTimeout:
            if patience is None:
                self.drop(hard=True)
                raise
            self.drop(hard=hard)
            raise Dropped from None
        except Dropped:
            self.drop(hard=hard)
            raise
        except OSError:
            self.drop(hard=False)
            raise

    def drop(self, *, hard: bool) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            reset(sock) if hard else sock.close()

    def _request(self, cursors: Mapping[str, str | None], query: str) -> bytes:
        text = marker(cursors)
        if self.form == "text":
            return f"{text}\n".encode()
        version = "1.1" if self.form == "kept" else "1.0"
        return f"GET /?{text}{query} HTTP/{version}\r\nHost: x\r\n\r\n".encode()

    def _whole(self, sock: socket.socket, take: int | None) -> Answer:
        data = b""
        end = None  # where the answer ends, once known
        while end is None or len(data) < end:
            part = sock.recv(65536)
            data += part
            if take is not None and len(data) >= take:
                raise Dropped
            if not part:
                if self.form == "kept":
                    raise ConnectionError("a kept connection ended before its answer")
                self.drop(hard=False)
                return parsed(data)
            if self.form == "kept" and end is None:
                end = _end_of(data)
        answer = parsed(data)
        if b"\r\nConnection: close\r\n" in data[: data.find(b"\r\n\r\n")]:
            self.drop(hard=False)
        return answer


def _end_of(data: bytes) -> int | None:
    head = data.find(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", data[: head + 2], re.IGNORECASE) if head > 0 else None
    return head + 4 + int(length[1]) if length else None


def parsed(data: bytes) -> Answer:
    """A whole answer. Errors: ConnectionError if it is not whole."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1."):
        raise ConnectionError(f"no answer but {data[:80]!r}")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    status = int(lines[0].split()[1])
    if status != 200:
        return Answer(status)
    blocks = [(dict(_PAIR.findall(ids.decode())), text.decode()) for ids, text in _BLOCK.findall(body)]
    if body != b" \r\n" and not (blocks and body.endswith(b"\n]")):
        raise ConnectionError(f"an answer was cut: {body[-80:]!r}")
    gaps = headers.get("X-Realplexor-Gap", "")
    return Answer(status, headers.get("X-Realplexor-Cursor", ""), frozenset(filter(None, gaps.split(","))), blocks)


class BackEnd:
    """One back-end with a kept connection on IN."""

    def __init__(self, address: Address, *, source: str = "") -> None:
        self._sock = connect(address, source=source)
        self._data = b""

    def close(self) -> None:
        self._sock.close()

    def end(self) -> None:
        """Ends the connection, and returns when the server has ended it, too."""
        self._sock.shutdown(socket.SHUT_WR)
        while self._sock.recv(65536):
            pass
        self._sock.close()

    def send_all(self, sends: Iterable[tuple[str, bytes]]) -> list[dict[str, str]]:
        """Sends messages (the marker's list, the text) ahead of their receipts; gives these, id -> cursor."""
        return self.finish(self.start(sends))

    def start(self, sends: Iterable[tuple[str, bytes]]) -> int:
        """Sends messages; gives how many receipts `finish` has to wait for."""
        requests = [
            b"POST / HTTP/1.1\r\nHost: x\r\nX-Realplexor: identifier=%b\r\nContent-Length: %d\r\n\r\n%b"
            % (ids.encode(), len(text), text)
            for ids, text in sends
        ]
        self._sock.sendall(b"".join(requests))
        return len(requests)

    def finish(self, count: int) -> list[dict[str, str]]:
        return [dict(line.split(" ") for line in self._answer().splitlines()) for _ in range(count)]

    def send(self, ids: str, text: str) -> dict[str, str]:
        return self.send_all([(ids, text.encode())])[0]

    def ask(self, *commands: str) -> list[str]:
        """Commands in one segment: the server answers them one behind the other, at once unless it rests in between.

        No blank line ends them: that is the old form, whose answer ends the connection.
        """
        requests = [
            f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(command)}\r\n\r\n{command}" for command in commands
        ]
        self._sock.sendall("".join(requests).encode())
        return [self._answer() for _ in commands]

    def online(self, prefix: str = "") -> dict[str, int]:
        """Online ids and their counts."""
        pairs = (line.split(" ") for line in self.ask(f"ONLINE {prefix}".strip())[0].splitlines())
        return {id: int(count) for id, count in pairs}

    def _answer(self) -> str:
        """Errors: ConnectionError if it is a refusal, or none."""
        while (end := _end_of(self._data)) is None or len(self._data) < end:
            part = self._sock.recv(1 << 18)
            if not part:
                raise ConnectionError(f"the IN line ended the connection: {self._data[:200]!r}")
            self._data += part
        answer, self._data = self._data[:end], self._data[end:]
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(f"refused: {answer!r}")
        return body.decode()
