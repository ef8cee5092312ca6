"""Raw HTTP to the servers under test: bytes in, an Answer out, its transfer coding taken off."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tests import waiting
from tests.lines.wire import Conversation

PATIENCE = waiting.PATIENCE
eventually = waiting.eventually
Address = tuple[str, int]


@dataclass(frozen=True)
class Answer:
    """`status` is "200 OK"; header names are in lower case."""

    status: str
    headers: dict[str, str]
    body: bytes


class Client(Conversation):
    """One connection. `read` gives the next answer; what has come of it while it is not whole is in `pending`."""

    patience = PATIENCE

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self.pending += data
        return bool(data)

    def read_until(self, end: bytes) -> bytes:
        """What has come up to and with `end`; it stays in `pending`."""
        while end not in self.pending:
            assert self._more(), f"closed behind {self.pending!r}"
        return self.pending[: self.pending.index(end) + len(end)]

    def read(self, *, head_only: bool = False) -> Answer:
        """The next whole answer, by Content-Length, chunks or the end of the connection."""
        head = self.read_until(b"\r\n\r\n")
        self.pending = self.pending[len(head) :]
        lines = head.decode("latin-1").split("\r\n")
        version, _, status = lines[0].partition(" ")
        assert version in ("HTTP/1.1", "HTTP/1.0")
        headers = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(":")
            assert name.lower() not in headers, f"{name} twice"
            headers[name.lower()] = value.strip()
        if head_only or status[:3] in ("204", "304"):
            return Answer(status, headers, b"")
        return Answer(status, headers, self._body(headers))

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while chunk := self._chunk():
                body += chunk
            return body
        if "content-length" in headers:
            return self.exactly(int(headers["content-length"]))
        while self._more():
            pass
        body, self.pending = self.pending, b""
        return body

    def _chunk(self) -> bytes:
        line = self.read_until(b"\r\n")
        self.pending = self.pending[len(line) :]
        chunk = self.exactly(int(line, 16))
        assert self.exactly(2) == b"\r\n"
        return chunk

    def ended(self) -> bool:
        """Whether the server has closed the connection, with nothing more to read."""
        return not self._more()


def get(target: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: localhost", *headers, "", ""]).encode()


def ask(address: Address, request: bytes, *, head_only: bool = False) -> Answer:
    client = Client(address, request)
    try:
        return client.read(head_only=head_only)
    finally:
        client.close()


def send(address: Address, marker: str, data: bytes) -> dict[str, str]:
    """A back-end's send; gives the receipt."""
    lines = ["POST / HTTP/1.1", "Host: localhost", f"X-Realplexor: identifier={marker}", f"Content-Length: {len(data)}"]
    answer = ask(address, "\r\n".join([*lines, "", ""]).encode() + data)
    assert answer.status == "200 OK", answer
    return dict(line.split(" ") for line in answer.body.decode().splitlines())


def online(address: Address) -> dict[str, int]:
    """What ONLINE answers: id -> connections."""
    client = Client(address, b"ONLINE\n\n")
    lines = client.read().body.decode().splitlines()
    return {line.split(" ")[0]: int(line.split(" ")[1]) for line in lines}


def messages(body: bytes) -> list[object]:
    """The data of a poll's blocks."""
    match = re.fullmatch(rb" \r\n(.*)", body, re.DOTALL)
    assert match, body
    return [block["data"] for block in json.loads(match[1])] if match[1] else []
