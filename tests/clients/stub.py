"""A scripted server for the clients' tests: what it read is kept, what it answers is given as bytes."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from types import TracebackType


class StubServer:
    """Runs `conversation(connection, number)` in a thread for each connection, numbered from 0, then closes it."""

    def __init__(self, conversation: Callable[[StubConnection, int], None]) -> None:
        self._conversation = conversation
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listening.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}/"
        self.connections: list[StubConnection] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def requests(self) -> list[bytes]:
        """Everything that was read, request by request, over all connections."""
        return [request for connection in self.connections for request in connection.requests]

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            connection = StubConnection(accepted)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection, len(self.connections) - 1), daemon=True).start()

    def _serve(self, connection: StubConnection, number: int) -> None:
        with contextlib.suppress(EOFError, OSError, ValueError):  # ValueError: closed under it by the test's end
            self._conversation(connection, number)
        connection.close()

    def __enter__(self) -> StubServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self.connections:
            connection.close()


class StubConnection:
    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.file = accepted.makefile("rb")
        self.requests: list[bytes] = []
        self.closed = False

    def read(self) -> bytes:
        """One HTTP request with its Content-Length body; EOFError at the end."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.file.readline()
            if not line:
                raise EOFError
            head += line
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.requests.append(head + self.file.read(length))
        return self.requests[-1]

    def answer(self, body: str | bytes = b"", status: str = "200 OK", headers: str = "") -> None:
        data = body.encode() if isinstance(body, str) else body
        self.write(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.file.close()
        self.socket.close()
        self.closed = True


def answering(*bodies: str | bytes) -> Callable[[StubConnection, int], None]:
    """A conversation that gives these bodies in turn, the last one for ever, on every connection."""

    def conversation(connection: StubConnection, number: int) -> None:
        for turn in range(1_000_000):
            connection.read()
            connection.answer(bodies[min(turn, len(bodies) - 1)])

    return conversation


def receipts(connection: StubConnection, number: int) -> None:
    """Answers each send as part 7.1 says: `ID CURSOR` for each id of the marker."""
    for turn in range(100_000):
        connection.answer(receipt_for(connection.read(), turn))


def receipt_for(request: bytes, turn: int) -> str:
    items = marker(request).rpartition("@")[2].split(",")
    return "".join(f"{item.rpartition(':')[2]} {1000 + turn}.5\n" for item in items if not item.startswith("*"))


def marker(request: bytes) -> str:
    match = re.search(rb"identifier=(\S*)", request)
    return match[1].decode() if match else ""


def body(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]
