"""Event streams are the same in every server (protocol page, part 10), but for what the server in front writes."""

from __future__ import annotations

import json
import re
import select
import signal

import pytest

from tests.event_source import Event, events, unchunked
from tests.hosts.conftest import STARTS
from tests.hosts.http import PATIENCE, Answer, Client, ask, eventually, get, online, send
from tests.hosts.servers import Server
from tests.hosts.test_wire import OF_THE_SERVER

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
    "vary": "Origin",
}
ACCEPT = "Accept: text/event-stream"
KINDS = {"kept": ("1.1", ()), "close": ("1.1", ("Connection: close",)), "HTTP/1.0": ("1.0", ())}


class Stream:
    """A stream that has begun."""

    def __init__(self, server: Server, ids: str, *lines: str, kind: str = "kept") -> None:
        version, more = KINDS[kind]
        self.client = Client(server.wait, get(f"/?identifier={ids}", ACCEPT, *more, *lines, version=version))
        self.head = self.client.until(b"\r\n\r\n")
        self.chunked = b"\r\ntransfer-encoding: chunked\r\n" in self.head.lower()
        self.body, self.client.pending = self.client.pending, b""

    def has(self, count: int) -> list[Event]:
        """The first `count` events, heartbeats left out."""
        found: list[Event] = []

        def enough() -> bool:
            if select.select([self.client.sock], [], [], 0)[0]:
                self.body += self.client.sock.recv(65536)
            found[:] = [event for event in events(self.plain()) if event.data]
            return len(found) >= count

        eventually(enough)
        assert len(found) == count
        return found

    def plain(self) -> bytes:
        return unchunked(self.body) if self.chunked else self.body


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream(server: Server, prefix: str, kind: str) -> None:
    stream = Stream(server, f"{prefix}a,{prefix}b", kind=kind)
    status, _, lines = stream.head.decode().partition("\r\n")
    named = dict(line.lower().split(": ", 1) for line in lines.split("\r\n") if line)
    assert status.split(" ", 1)[1] == "200 OK"
    assert {name: value for name, value in named.items() if name not in OF_THE_SERVER} == {
        name: value.lower() for name, value in HEADERS.items()
    }
    (opened,) = stream.has(1)
    assert (opened.name, opened.retry) == ("open", 1000)
    assert re.fullmatch(r"\d{10}\.\d{6,}:\*", opened.id or "")
    send(server.in_, f"{prefix}a", b'{"a":\n1}')
    send(server.in_, f"{prefix}a,{prefix}b", b"2")
    told = [json.loads(event.data) for event in stream.has(3)[1:]]
    assert [(sorted(one["ids"]), one["data"]) for one in told] == [
        ([f"{prefix}a"], {"a": 1}),
        ([f"{prefix}a", f"{prefix}b"], 2),
    ]
    assert online(server.in_)[f"{prefix}a"] == 1
    stream.client.close()
    eventually(lambda: online(server.in_)[f"{prefix}a"] == 0)


def test_resuming(server: Server, prefix: str) -> None:
    stream = Stream(server, f"{prefix}a,{prefix}b")
    stream.has(1)
    send(server.in_, f"{prefix}a", b"1")
    last = stream.has(2)[1].id
    stream.client.close()
    send(server.in_, f"{prefix}b", b"2")
    send(server.in_, f"{prefix}a", b"3")
    again = Stream(server, f"{prefix}a,{prefix}b", f"Last-Event-ID: {last}")
    told = again.has(3)
    assert told[0].id == last
    assert [json.loads(event.data)["data"] for event in told[1:]] == [2, 3]
    send(server.in_, f"{prefix}b", b"4")
    assert json.loads(again.has(4)[3].data)["data"] == 4
    again.client.close()


def test_many_listeners(server: Server, prefix: str) -> None:
    streams = [Stream(server, f"{prefix}a") for _ in range(20)]
    for stream in streams:
        stream.has(1)
    for number in range(5):
        send(server.in_, f"{prefix}a", b"%d" % number)
    for stream in streams:
        assert [json.loads(event.data)["data"] for event in stream.has(6)[1:]] == list(range(5))
        stream.client.close()
    eventually(lambda: online(server.in_)[f"{prefix}a"] == 0)


def test_the_end_of_gunicorn_is_told() -> None:
    with STARTS["gunicorn"]() as server:
        stream = Stream(server, "a")
        stream.has(1)
        server.process.send_signal(signal.SIGTERM)
        assert stream.has(2)[1].name == "bye"
        assert stream.client.ended()  # not kept, as its worker would wait for it
        server.process.wait(PATIENCE)


def test_a_definite_refusal(server: Server) -> None:
    answer: Answer = ask(server.wait, get("/", ACCEPT, "Connection: close"))
    assert answer.status.startswith("400")
