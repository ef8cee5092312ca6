"""Speaks the wire: bytes in, bytes out. `~` in a table stands for a prefix of channel ids that no other test uses."""

from __future__ import annotations

import itertools
import re
import select
import socket
import time
from collections.abc import Sequence

from tests.live import LiveServer
from tests.waiting import PATIENCE

QUIET = 0.25  # seconds without a byte after which a connection counts as waiting
_numbers = itertools.count(1)

CLOSED = (
    b"HTTP/1.1 200 OK\r\n"
    b"Connection: close\r\n"
    b"Cache-Control: no-store, no-cache, must-revalidate\r\n"
    b"Expires: Mon, 26 Jul 1997 05:00:00 GMT\r\n"
    b"Content-Type: text/javascript; charset=utf-8\r\n"
    b"\r\n"
    b" \r\n"
)
"""The head of part 2.1, byte for byte, and the space behind it."""


def blocks(*parts: tuple[dict[str, str], str]) -> bytes:
    """A poll's body of part 2.3, without the space before it; each part is ids -> cursors and the message."""
    shown = []
    for ids, data in parts:
        pairs = ", ".join(f'"{id}": "{cursor}"' for id, cursor in ids.items())
        shown.append(f'  {{\n    "ids": {{ {pairs} }},\n    "data":{chr(10) if chr(10) in data else " "}{data}\n  }}')
    return ("[\n" + ",\n".join(shown) + "\n]").encode()


def settings(*options: str) -> tuple[str, ...]:
    """Flags of `rplx serve` that set these options, each `section.name=value`."""
    return tuple(word for option in options for word in ("--set", option))


def own(data: bytes, prefix: str) -> bytes:
    """`data` with the prefix put in for each `~`; a request's Content-Length grows with its body."""
    head, blank, body = data.partition(b"\r\n\r\n")
    grown = body.count(b"~") * (len(prefix) - 1)
    head = re.sub(rb"(?<=\r\nContent-Length: )\d+", lambda match: b"%d" % (int(match[0]) + grown), head)
    return (head + blank + body).replace(b"~", prefix.encode())


def http(lines: str, body: bytes = b"", *, length: bool = True) -> bytes:
    """A request: its lines one under the other, a Content-Length unless `length` is False, a blank line, the body."""
    head = [line.strip() for line in lines.strip().split("\n")]
    if length and (body or head[0].startswith("POST")):
        head.append(f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in head).encode() + b"\r\n" + body


class Conversation:
    """One connection. `read` gives what has come, `rest` all up to the server's end."""

    patience = PATIENCE  # seconds

    def __init__(
        self,
        address: tuple[str, int],
        data: bytes = b"",
        *,
        end: bool = False,
        receive_buffer: int = 0,
        source: str = "",
    ) -> None:
        unix = not address[1]  # a path
        self.sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self.sock.settimeout(self.patience)
        if receive_buffer:  # before it connects, since the window is agreed upon then
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address[0] if unix else address)
        if not unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""
        self.peer = "unix" if unix else "%s:%d" % self.sock.getsockname()
        if data:
            self.send(data)
        if end:
            self.end()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def end(self) -> None:
        """Ends our sending half."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Ends the connection without a goodbye: with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def rest(self) -> bytes:
        """All that comes until the server ends the connection; TimeoutError if it does not."""
        data, self.pending = self.pending, b""
        self.sock.settimeout(self.patience)
        while part := self.sock.recv(65536):
            data += part
        return data

    def until(self, pattern: bytes) -> bytes:
        """What comes up to and with `pattern`; what lies behind it stays for the next call."""
        deadline = time.monotonic() + self.patience
        while pattern not in self.pending:
            self.sock.settimeout(max(0.01, deadline - time.monotonic()))
            part = self.sock.recv(65536)
            assert part, f"the connection ended before {pattern!r}, with {self.pending!r}"
            self.pending += part
        found, _, self.pending = self.pending.partition(pattern)
        return found + pattern

    def exactly(self, count: int) -> bytes:
        while len(self.pending) < count:
            part = self.sock.recv(65536)
            assert part, f"the connection ended with {self.pending!r}"
            self.pending += part
        found, self.pending = self.pending[:count], self.pending[count:]
        return found

    def answer(self) -> tuple[bytes, bytes]:
        """Head and body of an answer that has a Content-Length."""
        head = self.until(b"\r\n\r\n")
        match = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
        assert match, head
        return head, self.exactly(int(match[1]))

    def waits(self, seconds: float = QUIET) -> bool:
        """Whether nothing comes for `seconds`: no byte and no end."""
        return not self.pending and not select.select([self.sock], [], [], seconds)[0]


class Wire:
    """A live server, as its clients see it."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.wait = server.wait
        self.in_ = server.in_

    def prefix(self) -> str:
        """A prefix of channel ids that no other test uses."""
        return f"t{next(_numbers)}_"

    def on_wait(self, data: bytes = b"", *, end: bool = False, receive_buffer: int = 0) -> Conversation:
        return Conversation(self.wait, data, end=end, receive_buffer=receive_buffer)

    def on_in(self, data: bytes = b"", *, end: bool = False) -> Conversation:
        return Conversation(self.in_, data, end=end)

    def ask(self, data: bytes) -> bytes:
        """Sends `data` on IN, half-closes and gives the whole answer."""
        return self.on_in(data, end=True).rest()

    def send(self, ids: str, message: str = "null") -> None:
        """A silent send in plain text: stored when this returns."""
        assert self.ask(f"identifier={ids}\n\n{message}".encode()) == b""

    def listen(self, ids: str) -> Conversation:
        """A plain text listener that is registered when this returns."""
        listener = self.on_wait(f"identifier={ids}\n".encode())
        assert listener.exactly(len(CLOSED)) == CLOSED
        return listener

    def poll(self, ids: str) -> bytes:
        """What is due now from these cursors: the answer of a plain text poll that does not wait, without its head."""
        whole = self.on_wait(f"identifier={ids}".encode(), end=True).rest()
        assert whole.startswith(CLOSED)
        return whole[len(CLOSED) :]

    def command(self, text: str) -> str:
        """A command's answer, without its head."""
        head, _, body = self.ask(text.encode()).partition(b"\r\n\r\n")
        assert head == b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d" % len(body)
        return body.decode()

    def online(self, prefix: str) -> str:
        return self.command(f"ONLINE {prefix}\n\n")


def in_order(lines: Sequence[str], *patterns: str) -> bool:
    """Whether lines that match the patterns stand in this order."""
    found = iter(lines)
    return all(any(re.search(pattern, line) for line in found) for pattern in patterns)
