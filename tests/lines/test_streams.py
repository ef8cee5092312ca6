"""Event streams on the wire (protocol page, part 10)."""

from __future__ import annotations

import json
import re
import signal
import socket

import pytest

from tests.event_source import Event, events, unchunked
from tests.lines.wire import Conversation, Wire, http, settings
from tests.live import LiveServer
from tests.waiting import eventually

OPTIONS = settings("wait.heartbeat=2", "wait.allowed_origins=https://page.example")

HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"%b"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-store, no-transform\r\n"
    b"X-Accel-Buffering: no\r\n"
    b"Vary: Origin\r\n"
    b"%b"
    b"\r\n"
)
CHUNKED = HEAD % (b"", b"Transfer-Encoding: chunked\r\n")
CLOSED = HEAD % (b"Connection: close\r\n", b"")
ACCEPT = "Accept: text/event-stream"
CURSOR = r"\d{10}\.\d{6}"


class Stream:
    """A stream, read event by event."""

    def __init__(self, wire: Wire, ids: str, *lines: str, head: bytes = CHUNKED, version: str = "1.1") -> None:
        target = ids if ids.startswith("/") else f"/?identifier={ids}"
        text = "\n".join([f"GET {target} HTTP/{version}\nHost: h", *(lines or [ACCEPT])])
        self.conversation = wire.on_wait(http(text))
        self.chunked = head == CHUNKED
        assert self.conversation.exactly(len(head)) == head

    def event(self) -> Event:
        """The next event."""
        if self.chunked:
            size = int(self.conversation.until(b"\r\n"), 16)
            block = self.conversation.exactly(size + 2)[:-2]
        else:
            block = self.conversation.until(b"\n\n")
        (found,) = events(block)
        return found

    def opened(self) -> str:
        """Reads the first event; returns the position."""
        event = self.event()
        assert event.name == "open"
        return str(json.loads(event.data)["cursor"])

    def message(self) -> object:
        """The next event that is no heartbeat has to be a message; returns its data."""
        while not (event := self.event()).data:
            pass
        assert event.name == "message"
        return json.loads(event.data)["data"]


def test_the_bytes_of_a_stream(wire: Wire, prefix: str) -> None:
    stream = Stream(wire, f"{prefix}a,{prefix}b")
    size = int(stream.conversation.until(b"\r\n"), 16)
    opened = stream.conversation.exactly(size + 2).decode()
    assert re.fullmatch(
        f'retry: 1000\nid: ({CURSOR}):\\*\nevent: open\ndata: {{"cursor":"\\1","gaps":\\[\\]}}\n\n\r\n', opened
    )
    wire.send(f"{prefix}a", '{"text":"hi"}')
    event = stream.conversation.exactly(int(stream.conversation.until(b"\r\n"), 16) + 2).decode()
    told = f'id: ({CURSOR}):\\*\ndata: {{"ids":{{"{prefix}a":"\\1"}},"data":{{"text":"hi"}}}}\n\n\r\n'
    assert re.fullmatch(told, event)


ASKED = {
    "Accept": (ACCEPT,),
    "several types": ("Accept: text/html, Text/Event-Stream;q=0.9",),
    "with a parameter": ("Accept: text/event-stream; charset=utf-8, */*",),
}
NOT_ASKED = {
    "everything": ("Accept: */*",),
    "refused": ("Accept: text/event-stream;q=0, */*",),
    "another": ("Accept: x-text/event-stream-x",),
    "none": ("X: y",),
}


@pytest.mark.parametrize("lines", ASKED.values(), ids=ASKED)
def test_who_asks_for_a_stream(wire: Wire, prefix: str, lines: tuple[str, ...]) -> None:
    assert Stream(wire, f"{prefix}a", *lines).opened()


@pytest.mark.parametrize("target", ["/?stream&identifier=~a", "/?identifier=~a&stream=1", "/?identifier=~a&stream"])
def test_who_asks_for_a_stream_in_the_target(wire: Wire, prefix: str, target: str) -> None:
    assert Stream(wire, target.replace("~", prefix), "X: y").opened()


@pytest.mark.parametrize("lines", NOT_ASKED.values(), ids=NOT_ASKED)
def test_who_does_not(wire: Wire, prefix: str, lines: tuple[str, ...]) -> None:
    wire.send(f"5:{prefix}a", "1")
    text = "\n".join([f"GET /?identifier=1:{prefix}a,{prefix}stream HTTP/1.1\nHost: h", *lines])
    head, _ = wire.on_wait(http(text)).answer()
    assert b"text/javascript" in head


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_that_ends_has_no_chunks(wire: Wire, prefix: str, version: str) -> None:
    stream = Stream(wire, f"{prefix}a", ACCEPT, "Connection: close", head=CLOSED, version=version)
    stream.opened()
    wire.send(f"{prefix}a", "1")
    assert stream.message() == 1


def test_post(wire: Wire, prefix: str) -> None:
    asked = wire.on_wait(
        http("POST / HTTP/1.1\nHost: h\nAccept: text/event-stream", f"identifier={prefix}a\n".encode())
    )
    assert asked.exactly(len(CHUNKED)) == CHUNKED


def test_a_page_of_another_site_may_read(wire: Wire, prefix: str) -> None:
    text = f"GET /?identifier={prefix}a HTTP/1.1\nHost: h\n{ACCEPT}\nOrigin: https://page.example"
    head = wire.on_wait(http(text)).until(b"\r\n\r\n")
    assert b"\r\nAccess-Control-Allow-Origin: https://page.example\r\n" in head


def test_order_over_channels_and_a_message_to_several(wire: Wire, prefix: str) -> None:
    stream = Stream(wire, f"{prefix}b,{prefix}a")
    stream.opened()
    wire.send(f"{prefix}a", "1")
    wire.send(f"{prefix}a,{prefix}b,{prefix}c", "2")
    wire.send(f"{prefix}c", "3")
    wire.send(f"{prefix}b", '[4,\n"id: 1:*"]')
    assert stream.message() == 1
    both = stream.event()
    cursor = json.loads(both.data)["ids"][f"{prefix}a"]
    assert json.loads(both.data) == {"ids": {f"{prefix}a": cursor, f"{prefix}b": cursor}, "data": 2}
    assert both.id == f"{cursor}:*"
    assert stream.message() == [4, "id: 1:*"]


@pytest.mark.parametrize("how", ["Last-Event-ID", "last_event_id", "lastEventId"])
def test_resuming(wire: Wire, prefix: str, how: str) -> None:
    stream = Stream(wire, f"{prefix}a,{prefix}b")
    stream.opened()
    wire.send(f"{prefix}a", "1")
    last = stream.event().id
    assert last is not None
    stream.conversation.reset()
    wire.send(f"{prefix}b", "2")
    wire.send(f"{prefix}a", "3")
    target, lines = f"/?identifier={prefix}a,{prefix}b", [ACCEPT]
    if how == "Last-Event-ID":
        lines.append(f"Last-Event-ID: {last}")
    else:
        target += f"&{how}=" + last.replace(":", "%3A").replace("*", "%2A")
    again = Stream(wire, target, *lines)
    opened = again.event()
    assert opened.id == last
    assert json.loads(opened.data)["gaps"] == []
    assert [again.message(), again.message()] == [2, 3]
    wire.send(f"{prefix}a", "4")
    assert again.message() == 4


def test_channels_that_the_mark_does_not_cover_begin_now(wire: Wire, prefix: str) -> None:
    wire.send(f"5:{prefix}a,5:{prefix}b", "5")
    stream = Stream(wire, f"{prefix}a,{prefix}b", ACCEPT, f"Last-Event-ID: 4:{prefix}a")
    stream.event()
    assert json.loads(stream.event().data) == {"ids": {f"{prefix}a": "5"}, "data": 5}


def test_a_mark_that_nobody_can_read_is_a_gap(wire: Wire, prefix: str) -> None:
    stream = Stream(wire, f"{prefix}a,{prefix}b", ACCEPT, "Last-Event-ID: 17")
    assert json.loads(stream.event().data)["gaps"] == [f"{prefix}a", f"{prefix}b"]


def test_cursors_of_the_target_count_without_a_mark(wire: Wire, prefix: str) -> None:
    wire.send(f"5:{prefix}a", "5")
    wire.send(f"7:{prefix}a", "7")
    stream = Stream(wire, f"5:{prefix}a")
    opened = stream.event()
    assert json.loads(opened.data)["gaps"] == [f"{prefix}a"]
    assert opened.id is not None
    assert opened.id.endswith(f":*,5:{prefix}a")
    event = stream.event()
    assert event.id is not None
    assert event.id.endswith(f":*,7:{prefix}a")


def test_limiters(wire: Wire, prefix: str) -> None:
    stream, other = Stream(wire, f"{prefix}a,{prefix}friend"), Stream(wire, f"{prefix}a")
    for one in (stream, other):
        one.opened()
    wire.send(f"{prefix}a,*{prefix}friend", "1")
    wire.send(f"{prefix}a", "2")
    assert [stream.message(), stream.message()] == [1, 2]
    assert other.message() == 2


def test_a_stream_is_one_listener_until_it_ends(wire: Wire, prefix: str) -> None:
    stream = Stream(wire, f"{prefix}a,{prefix}a,{prefix}b")
    stream.opened()
    for number in range(3):
        wire.send(f"{prefix}a", str(number))
        stream.message()
        assert wire.online(prefix) == f"{prefix}a 1\n{prefix}b 1\n"
    changes = [line for line in wire.command(f"WATCH 1 {prefix}\n\n").splitlines() if prefix in line]
    assert [line.split()[0] for line in changes] == ["online", "online"]
    stream.conversation.close()
    eventually(lambda: wire.online(prefix), f"{prefix}a 0\n{prefix}b 0\n")


def test_a_reset_is_noticed(wire: Wire, prefix: str) -> None:
    stream = Stream(wire, f"{prefix}a")
    stream.opened()
    stream.conversation.reset()
    eventually(lambda: wire.online(prefix), f"{prefix}a 0\n")


def test_heartbeats(wire: Wire, prefix: str) -> None:
    stream = Stream(wire, f"{prefix}a")
    opened = stream.event()
    beats = [stream.event() for _ in range(2)]
    assert [(beat.name, beat.data) for beat in beats] == [("message", "")] * 2
    ids = [event.id for event in (opened, *beats)]
    assert all(id is not None and id.endswith(":*") for id in ids)
    assert ids == sorted(set(ids), key=str)


def test_a_client_that_half_closes_is_told_goodbye(wire: Wire, prefix: str) -> None:
    stream = Stream(wire, f"{prefix}a")
    stream.opened()
    stream.conversation.end()
    body = stream.conversation.rest()
    assert body.endswith(b"\r\n0\r\n\r\n")
    (bye,) = events(unchunked(body))
    assert bye.name == "bye"


def test_a_client_that_has_half_closed_gets_what_is_due(wire: Wire, prefix: str) -> None:
    wire.send(f"5:{prefix}a", "5")
    asked = wire.on_wait(http(f"GET /?identifier=1:{prefix}a HTTP/1.1\nHost: h\n{ACCEPT}"), end=True)
    found = events(unchunked(asked.rest().partition(b"\r\n\r\n")[2]))
    assert [event.name for event in found] == ["open", "message", "bye"]
    assert f"{prefix}a 1" not in wire.online(prefix)


DEFINITE = {
    "no channel": ("GET / HTTP/1.1\nHost: h", b"400"),
    "a wrong id": ("GET /?identifier=a/b HTTP/1.1\nHost: h", b"400"),
    "a page that may read nothing": ("GET /?identifier=a HTTP/1.1\nHost: h\nSec-Fetch-Mode: no-cors", b"403"),
    "another method": ("PUT /?identifier=a HTTP/1.1\nHost: h", b"405"),
    "HEAD": ("HEAD /?identifier=a HTTP/1.1\nHost: h", b"405"),
}


@pytest.mark.parametrize(("text", "status"), DEFINITE.values(), ids=DEFINITE)
def test_a_definite_refusal_is_one(wire: Wire, text: str, status: bytes) -> None:
    head = wire.on_wait(http(f"{text}\n{ACCEPT}")).until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)


def test_the_end_of_the_server() -> None:
    with LiveServer(*settings("server.drain=2")) as server:
        wire = Wire(server)
        head = CHUNKED.replace(b"Vary: Origin\r\n", b"")
        streams = [Stream(wire, "a", head=head) for _ in range(5)]
        for stream in streams:
            stream.chunked = True
            stream.opened()
        server.process.send_signal(signal.SIGTERM)
        retries = set()
        for stream in streams:
            event = stream.event()
            assert event.name == "bye"
            assert json.loads(event.data) == {"retry": event.retry}
            assert event.retry is not None
            retries.add(event.retry)
            assert stream.conversation.rest() == b"0\r\n\r\n"
        assert len(retries) > 1


def test_who_comes_while_the_server_ends_comes_back_later() -> None:
    with LiveServer(*settings("server.drain=60")) as server:
        wire = Wire(server)
        waiting = [wire.on_wait(http("GET /?identifier=a HTTP/1.1\nHost: h")) for _ in range(2)]
        eventually(lambda: wire.online("a"), "a 2\n")
        server.process.send_signal(signal.SIGTERM)
        waiting[0].answer()
        head, body = wire.on_wait(http(f"GET /?identifier=a HTTP/1.1\nHost: h\n{ACCEPT}")).answer()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nContent-Type: text/event-stream\r\n" in head
        (event,) = events(body)
        assert (event.data, event.id) == ("", None)
        assert event.retry is not None
        assert event.retry > 1000
        server.process.kill()


def test_a_slow_reader_catches_up() -> None:
    """It reads nothing for long; others of its set go on, and it gets all that history holds, each once."""
    with LiveServer(*settings("wait.write_timeout=60", "history.max_messages=1000")) as server:
        wire = Wire(server)
        text = http(f"GET /?identifier=a HTTP/1.0\nHost: h\n{ACCEPT}")
        slow = Conversation(server.wait, text, receive_buffer=4096)
        swift = wire.on_wait(text)
        swift.until(b"\n\n")
        eventually(lambda: wire.online("a"), "a 2\n")
        for number in range(300):
            wire.send("a", json.dumps([number, "x" * 5000]))
            assert b"[%d," % number in swift.until(b"\n\n")
        assert numbers(slow, 300) == list(range(300))
        wire.send("a", json.dumps([300, ""]))
        for reader in (slow, swift):
            assert numbers(reader, 1) == [300]
        assert not [line for line in server.log if "dropped" in line]


def test_a_slow_reader_is_told_of_a_gap() -> None:
    with LiveServer(*settings("wait.write_timeout=60", "history.max_messages=5")) as server:
        wire = Wire(server)
        slow = Conversation(server.wait, http(f"GET /?identifier=a HTTP/1.0\nHost: h\n{ACCEPT}"), receive_buffer=4096)
        slow.until(b"\n\n")
        for number in range(600):
            wire.send("a", json.dumps([number, "x" * 5000]))
        blocks = [slow.until(b"\n\n")]
        while b"[599," not in blocks[-1]:
            blocks.append(slow.until(b"\n\n"))
        names = [event.name for block in blocks for event in events(block)]
        assert names.count("gap") == 1
        assert names[-6:] == ["gap"] + ["message"] * 5


def test_who_reads_nothing_is_dropped() -> None:
    with LiveServer(*settings("wait.write_timeout=1")) as server:
        wire = Wire(server)
        slow = Conversation(server.wait, http(f"GET /?identifier=a HTTP/1.1\nHost: h\n{ACCEPT}"), receive_buffer=4096)
        slow.until(b"\n\n")
        for number in range(300):
            wire.send("a", json.dumps([number, "x" * 5000]))
        eventually(lambda: wire.online("a"), "a 0\n")
        server.wait_for("wait.write_timeout")


def numbers(reader: Conversation, count: int) -> list[int]:
    """The numbers of the next `count` messages."""
    found: list[int] = []
    while len(found) < count:
        for event in events(reader.until(b"\n\n")):
            if event.name == "message" and event.data:
                found.append(json.loads(event.data)["data"][0])
    return found


def test_a_long_history_is_read_in_pieces() -> None:
    with LiveServer(*settings("history.max_messages=100")) as server:
        wire = Wire(server)
        for number in range(60):
            wire.send(f"{number + 1}:a", json.dumps([number, "x" * 20_000]))
        stream = Conversation(server.wait, http(f"GET /?identifier=0:a HTTP/1.0\nHost: h\n{ACCEPT}"))
        assert numbers(stream, 60) == list(range(60))
        wire.send("61:a", "[60]")
        assert numbers(stream, 1) == [60]


def test_messages_that_are_no_json() -> None:
    with LiveServer(*settings("in.check_json=false")) as server:
        wire = Wire(server)
        stream = Stream(wire, "a", head=CHUNKED.replace(b"Vary: Origin\r\n", b""))
        stream.chunked = True
        stream.opened()
        wire.send("a", "plain\r\n\r\nid: 9:*\n")
        wire.send("a", '{"json":\n1}')
        assert stream.message() == "plain\r\n\r\nid: 9:*\n"
        assert stream.message() == {"json": 1}


def test_log_lines() -> None:
    with LiveServer(*settings("log.connections=true")) as server:
        wire = Wire(server)
        stream = Stream(wire, "a", head=CHUNKED.replace(b"Vary: Origin\r\n", b""))
        stream.chunked = True
        cursor = stream.opened()
        wire.send("a", "1")
        stream.message()
        stream.conversation.close()
        line = rf"WAIT: 127\.0\.0\.1:\d+: DEBUG: \[{cursor}:a\]"
        for text in (rf"{line} registered", r"<- sending 1 responses \(.*from \[a\]", rf"{line} connection closed"):
            server.wait_for(text)


def test_too_many_connections_come_back_later() -> None:
    """The request is looked at if it has come already."""
    with LiveServer(*settings("wait.max_connections=1")) as server:
        first = Conversation(server.wait, b"G")
        eventually(lambda: _refused(server), 200)
        assert first.waits()


def _refused(server: LiveServer) -> int:
    with socket.create_connection(server.wait) as sock:
        sock.sendall(http(f"GET /?identifier=a HTTP/1.1\nHost: h\n{ACCEPT}"))
        return int(sock.recv(65536).split()[1])
