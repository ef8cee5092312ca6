"""The Python client listens by event streams: what they bring, when it takes polls, and where it comes back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rplx.client import BrokenResponse, InvalidArgument, Listener, Realplexor, Refused, Unreadable, blocks, retrying
from rplx.client import stream as streams
from rplx.client.events import EventParser, cursors_of_mark
from rplx.client.stream import Choice
from tests.clients.stub import StubConnection, StubServer, body
from tests.live import LiveServer
from tests.redis_server import AVAILABLE, RedisServer
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("each_client")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
OPEN = b'retry: 1\nid: 100:*\nevent: open\ndata: {"cursor":"100","gaps":[]}\n\n'
BYE = b'retry: 1\nevent: bye\ndata: {"retry":1}\n\n'


def event(mark: str, data: str, **ids: str) -> bytes:
    named = ",".join(f'"{id}":"{cursor}"' for id, cursor in ids.items())
    return f'id: {mark}\ndata: {{"ids":{{{named}}},"data":{data}}}\n\n'.encode()


def chunked(*events: bytes, cut: int = 0) -> bytes:
    written = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in events)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + written[: len(written) - cut]


def poll(data: str = "", headers: str = "") -> bytes:
    text = f'[\n  {{\n    "ids": {{ "a": "{data}" }},\n    "data": {data}\n  }}\n]' if data else ""
    return f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/javascript\r\n{headers}\r\n \r\n{text}".encode()


def serving(*answers: bytes, holds: tuple[int, ...] = ()) -> StubServer:
    """Answers one connection after another; those in `holds`, and the last, stay open."""

    def serve(connection: StubConnection, number: int) -> None:
        connection.read()
        if number < len(answers):
            connection.write(answers[number])
        if number in holds or number >= len(answers) - 1:
            connection.read()

    return StubServer(serve)


def targets(server: StubServer) -> list[str]:
    """The targets of the requests, without the listener's name."""
    return [request.split(b" ")[1].decode().partition("&client=")[0] for request in server.requests]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "RETRY_FIRST", 0.01)


class TestPure:
    TEXT = b"retry: 1500\nid: 5.5:*\nevent: open\ndata: {}\n\n: why\n\n"
    TEXT += b"id:6:*\ndata: a\ndata:b\ndata\n\nid: 7:*\n\nretry: x\n\n"

    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
    @pytest.mark.parametrize("step", [1, 3, 1000])
    def test_events(self, line_end: bytes, step: int) -> None:
        data = self.TEXT.replace(b"\n", line_end) + b"id: 8"
        parser = EventParser()
        events = [event for at in range(0, len(data), step) for event in parser.feed(data[at : at + step])]
        assert events == [
            ("open", "5.5:*", b"{}", 1.5, None),
            ("", None, None, None, "why"),
            ("", "6:*", b"a\nb\n", None, None),
            ("", "7:*", None, None, None),
            ("", None, None, None, None),
        ]

    @pytest.mark.parametrize("mark", ["", "9", "6:b", "x:*", "-1:*"])
    def test_what_is_no_mark(self, mark: str) -> None:
        assert cursors_of_mark(mark, ["a"]) == {}

    def test_a_mark(self) -> None:
        assert cursors_of_mark("10.5:*,6:b,4:other", ["a", "b"]) == {"a": "10.5", "b": "6"}

    def test_a_message_that_cannot_be_read(self) -> None:
        nested = b"[" * 100_000 + b"]" * 100_000
        message = blocks.read_one(b'{"ids":{"a":"5"},"data":%b}' % nested)
        assert isinstance(message.data, Unreadable)
        assert (message.data.raw, message.ids) == (nested, {"a": "5"})
        for text in (b"", b"[]", b'{"ids":{"a":"x"},"data":1}', b'{"ids":{"a":"5"}}'):
            with pytest.raises(BrokenResponse, match="an event is no message"):
                blocks.read_one(text)

    def test_a_stream_that_ends_at_once_three_times_is_left_for_ten_minutes(self) -> None:
        choice = Choice("auto")
        choice.ended_at_once(100)
        choice.ended_at_once(100)
        choice.lasted()
        choice.ended_at_once(100)
        choice.ended_at_once(100)
        assert choice.is_stream(100)
        choice.ended_at_once(100)
        assert [choice.is_stream(now) for now in (100, 699, 700)] == [False, False, True]
        for transport in ("stream", "poll"):
            choice = Choice(transport)
            choice.does_not_fit(100)
            assert choice.is_stream(100) is (transport == "stream")


class TestScripted:
    def test_messages_and_where_it_comes_back(self) -> None:
        first = chunked(
            OPEN,
            event("101:*", '"one"', n_a="101"),
            b'event: gap\ndata: {"ids":["n_b"]}\n\n',
            event("101.5:*,3:n_b", '{"x":[]}', n_a="101.5", n_b="3"),
            b"id: 105:*,3:n_b\n\n",
            BYE,
        )
        gaps: list[list[str]] = []
        with serving(first, chunked(OPEN, event("106:*", "2", n_a="106"))) as server:
            client = Realplexor(namespace="n_")
            with client.listen({"a": None, "b": "2"}, server.url + "rpl/?x=1", on_gap=gaps.append) as listener:
                assert listener.cursors == {"a": "100", "b": "2"}
                assert next(listener) == ("one", {"a": "101"})
                assert listener.cursors == {"a": "101", "b": "101"}
                assert gaps == []
                assert next(listener) == ({"x": []}, {"a": "101.5", "b": "3"})
                assert gaps == [["b"]]
                assert next(listener) == (2, {"a": "106"})
        assert targets(server) == [
            "/rpl/?x=1&identifier=n_a,2:n_b&stream",
            "/rpl/?x=1&identifier=105:n_a,101:n_b&stream",
        ]
        assert b"\r\nAccept: text/event-stream\r\n" in server.requests[0]

    def test_a_stream_cut_anywhere_in_its_bytes(self) -> None:
        whole = chunked(OPEN, event("101:*", "1", a="101"), event("102:*", "2", a="102"))
        behind = {None: [1, 2, 3], "100": [1, 2, 3], "101": [2, 3], "102": [3]}
        for cut in range(len(whole) - len(chunked(OPEN)), 0, -7):

            def serve(connection: StubConnection, number: int, cut: int = cut) -> None:
                at = connection.read().split(b"identifier=")[1].split(b"&")[0].partition(b":")[0].decode()
                if number == 0:
                    connection.write(whole[: len(whole) - cut])
                    return
                due = [event(f"{100 + n}:*", str(n), a=str(100 + n)) for n in behind[at]]
                connection.write(chunked(OPEN, *due))
                connection.read()

            with StubServer(serve) as server, Realplexor().listen("a", server.url, transport="stream") as listener:
                assert [next(listener).data for _ in range(3)] == [1, 2, 3], cut

    def test_a_server_without_streams(self) -> None:
        position = "X-Realplexor-Cursor: 100\r\nX-Realplexor-Gap: b\r\n"
        gaps: list[list[str]] = []
        with serving(poll(), poll("", position), poll("101"), poll("102"), b"", holds=(0,)) as server:
            with Realplexor().listen({"a": None, "b": 7}, server.url, on_gap=gaps.append) as listener:
                assert [next(listener).data, next(listener).data] == [101, 102]
            assert gaps == [["b"]]
            assert targets(server)[:4] == [
                "/?identifier=a,7:b&stream",
                "/?identifier=a,7:b&json&position",
                "/?identifier=100:a,100:b&json&timeout=25",
                "/?identifier=101:a,100:b&json&timeout=25",
            ]
        with serving(poll()) as server, pytest.raises(BrokenResponse, match="the server has no event streams"):
            Realplexor().listen("a", server.url, transport="stream")

    def test_a_proxy_that_holds_bytes_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rplx.client.listening.OPEN_PATIENCE", 0.2)
        with (
            serving(b"", poll("", "X-Realplexor-Cursor: 100\r\n"), poll("101"), b"", holds=(0,)) as server,
            Realplexor().listen("a", server.url) as listener,
        ):
            assert next(listener).data == 101
            assert targets(server)[:2] == ["/?identifier=a&stream", "/?identifier=a&json&position"]

    def test_streams_that_end_at_once_give_way_to_polls(self) -> None:
        first = chunked(OPEN, event("101:*", "1", a="101"), event("102:*", "2", a="102"), cut=20)
        with serving(first, chunked(OPEN), HEAD + b"\r\n", poll("102"), poll("103"), b"") as server:
            with Realplexor().listen("a", server.url) as listener:
                assert [next(listener).data for _ in range(3)] == [1, 102, 103]
            assert targets(server)[:5] == [
                "/?identifier=a&stream",
                "/?identifier=101:a&stream",
                "/?identifier=101:a&stream",
                "/?identifier=101:a&json&position",
                "/?identifier=102:a&json&timeout=25",
            ]

    def test_refusals(self) -> None:
        refused = HEAD + b"\r\n: the server ends\nretry: 1\n\n"
        no = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n"
        with serving(refused, b"") as server, pytest.raises(Refused, match=r"503 .*: the server ends") as caught:
            Realplexor().listen("a", server.url)
        assert caught.value.retry_after == 0.001
        again = chunked(OPEN, event("101:*", "1", a="101"))
        with serving(chunked(OPEN, BYE), *[refused] * 4, again) as server:
            with Realplexor().listen("a", server.url) as listener:
                assert next(listener).data == 1
            assert targets(server)[1:] == ["/?identifier=100:a&stream"] * 5
        with (
            serving(chunked(OPEN, BYE), no, b"") as server,
            Realplexor().listen("a", server.url) as listener,
            pytest.raises(Refused, match="403 Forbidden"),
        ):
            next(listener)
        unknown = b"HTTP/1.1 406 Not Acceptable\r\nContent-Length: 0\r\n\r\n"
        with (
            serving(unknown, poll("101"), b"") as server,
            Realplexor().listen("a", server.url) as listener,
        ):
            assert next(listener).data == 101

    def test_silence_past_the_heartbeats_ends_a_stream(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(streams, "SILENCE", 0.2)
        with serving(chunked(OPEN), chunked(OPEN, event("101:*", "1", a="101")), holds=(0,)) as server:
            listener = Realplexor().listen("a", server.url, transport="stream")
            assert next(listener).data == 1
            listener.close()

    def test_a_long_list_goes_as_a_post(self) -> None:
        ids = [f"c{number}" for number in range(600)]
        with serving(chunked(OPEN)) as server:
            Realplexor().listen(ids, server.url).close()
        assert server.requests[0].startswith(b"POST /?stream&client=")
        assert body(server.requests[0]) == b"identifier=" + ",".join(ids).encode() + b"\n"

    def test_close_ends_a_waiting_iteration(self) -> None:
        with serving(chunked(OPEN)) as server:
            listener = Realplexor().listen("a", server.url)
            threading.Timer(0.1, listener.close).start()
            assert list(listener) == []

    def test_an_unknown_transport(self) -> None:
        with pytest.raises(InvalidArgument, match="Transport must be one of auto, stream, poll, 'websocket' given"):
            Realplexor().listen("a", "http://127.0.0.1:1/", transport="websocket")


def url(server: LiveServer) -> str:
    return "http://{}:{}/".format(*server.wait)


@pytest.mark.parametrize("transport", ["auto", "stream", "poll"])
def test_messages_of_several_channels(transport: str) -> None:
    with LiveServer() as server, Realplexor(*server.in_, namespace="ns_") as client:
        with client.listen(["a", "user.7"], url(server), transport=transport) as listener:
            assert client.online_with_counters() == {"a": 1, "user.7": 1} or transport == "poll"
            data: Any = {"text": "two\r\nlines"}
            receipts = [client.send(["a", "user.7"][: 1 + number % 2], data) for number in range(20)]
            assert [next(listener) for _ in receipts] == [(data, receipt) for receipt in receipts]
            cursors = listener.cursors
        client.send("a", "later")
        with client.listen(cursors, url(server), transport=transport) as resumed:
            assert next(resumed).data == "later"


def hears(listener: Listener, heard: list[Any]) -> Callable[[], None]:
    """Returns what has `heard` filled up to the message "end"."""

    def run() -> None:
        for message in listener:
            heard.append(message.data)
            if message.data == "end":
                return

    return run


@pytest.fixture(params=["sqlite", "redis"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where history outlives the server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/history.db"
    elif not AVAILABLE and not os.environ.get("CI"):
        pytest.skip("needs redis-server")
    else:
        with RedisServer() as redis:
            yield redis.url


def test_nothing_is_lost_or_doubled_over_restarts_and_a_change_of_transport(engine: str) -> None:
    kept = ("--set", f"engine.url={engine}", "--set", "history.max_messages=1000")
    kept += ("--set", "server.drain=0.2")
    server = LiveServer(*kept)
    addresses = ("--wait", "{}:{}".format(*server.wait), "--in", "{}:{}".format(*server.in_))
    gaps: list[list[str]] = []
    heard: list[Any] = []
    listener = Realplexor().listen(["news", "other"], url(server), on_gap=gaps.append)
    thread = threading.Thread(target=hears(listener, heard))
    thread.start()
    sent: list[Any] = []
    for turn, how in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)):
        with Realplexor(*server.in_) as client:
            for _ in range(50):
                sent.append(len(sent))
                client.send("news" if len(sent) % 3 else ["news", "other"], sent[-1])
            eventually(lambda: len(heard) > 0)
        listener._listening.choice.transport = ("stream", "poll", "auto")[turn]
        server.stop(how)
        server = LiveServer(*addresses, *kept, addresses=False)
    with server, Realplexor(*server.in_) as client:
        client.send("other", "end")
        eventually(lambda: heard[-1:] == ["end"])
    thread.join(120)
    listener.close()
    assert heard == [*sent, "end"]
    assert gaps == []
