"""The Python client listens: polls that follow each other from where the last answer left off."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from rplx.client import (
    BrokenResponse,
    ConnectionFailed,
    ConnectionLost,
    InvalidArgument,
    Realplexor,
    Refused,
    Timeout,
    async_listener,
    listening,
    retrying,
)
from rplx.client import (
    listener as blocking,
)
from rplx.client.connection import Answer
from rplx.client.retrying import Waits
from tests.clients.stub import StubConnection, StubServer, answering, body, marker

pytestmark = pytest.mark.usefixtures("each_client")


def block(data: Any, **ids: str) -> str:
    return f'  {{\n    "ids": {json.dumps(ids)},\n    "data": {json.dumps(data)}\n  }}'


def wait_answer(*blocks: str) -> str:
    return " \r\n" + ("[\n" + ",\n".join(blocks) + "\n]" if blocks else "")


@pytest.fixture(autouse=True)
def name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What listeners here call themselves in polls that wait (part 9.9)."""
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: "NAME")


class TestListen:
    def test_polls(self) -> None:
        """The first poll asks for the position and is answered at once; each later one goes on from what came."""

        def serve(connection: StubConnection, number: int) -> None:
            script = [
                (wait_answer(), "X-Realplexor-Cursor: 100.25\r\n"),
                (wait_answer(block("one", n_a="101.5"), block("two", n_a="102", n_b="102.0")), ""),
                (
                    wait_answer(block({"x": [3]}, n_b="103")),
                    "X-Realplexor-Cursor: 104\r\nX-Realplexor-Gap: n_a,n_b\r\n",
                ),
                # asked at once for what may have been cut off, and the gap not told again
                (wait_answer(block(4, n_a="103.5")), "X-Realplexor-Cursor: 104.5\r\nX-Realplexor-Gap: n_a\r\n"),
                (wait_answer(), "X-Realplexor-Cursor: 105\r\nX-Realplexor-Gap: n_b\r\n"),
            ]
            for text, headers in script:
                connection.read()
                connection.answer(text, headers=headers)
            connection.read()

        gaps: list[list[str]] = []

        def tell(ids: list[str]) -> None:
            gaps.append(ids)
            if len(gaps) == 2:
                threading.Thread(target=listener.close).start()

        with StubServer(serve) as server:
            client = Realplexor(namespace="n_")
            listener = client.listen({"a": None, "b": "5"}, server.url + "rpl/?x=1", transport="poll", on_gap=tell)
            assert listener.cursors == {"a": "100.25", "b": "5"}
            assert next(listener) == ("one", {"a": "101.5"})
            assert listener.cursors == {"a": "101.5", "b": "5"}
            assert next(listener) == ("two", {"a": "102", "b": "102.0"})
            assert gaps == []
            assert next(listener) == ({"x": [3]}, {"b": "103"})
            assert next(listener) == (4, {"a": "103.5"})
            assert gaps == [["a", "b"]]
            assert list(listener) == []
            assert gaps == [["a", "b"], ["b"]]
            assert listener.cursors == {"a": "103.5", "b": "105"}  # with no message behind its gap: from the present
        assert [request.split(b"\r\n")[0] for request in server.requests[:5]] == [
            b"GET /rpl/?x=1&identifier=n_a,5:n_b&json&position HTTP/1.1",
            b"GET /rpl/?x=1&identifier=100.25:n_a,5:n_b&json&timeout=25&client=NAME HTTP/1.1",
            b"GET /rpl/?x=1&identifier=102:n_a,102.0:n_b&json&timeout=25&client=NAME HTTP/1.1",
            b"GET /rpl/?x=1&identifier=102:n_a,103:n_b&json&position HTTP/1.1",
            b"GET /rpl/?x=1&identifier=103.5:n_a,103:n_b&json&timeout=25&client=NAME HTTP/1.1",
        ]
        assert len(server.connections) == 1

    def test_each_has_a_name_that_nobody_can_guess(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        names = set()
        for _ in range(2):
            with StubServer(answering(wait_answer(), *[wait_answer(block(n, a=str(n))) for n in (1, 2)])) as server:
                listener = Realplexor().listen("a", server.url, transport="poll")
                assert [next(listener).data, next(listener).data] == [1, 2]
                found = [re.search(rb"&client=([A-Za-z0-9_-]+) ", request) for request in server.requests]
                assert found[0] is None  # a question for the position does not wait
                names |= {match[1] for match in found if match}
        assert [len(name) for name in names] == [22, 22]

    def test_long_lists_go_as_a_post(self) -> None:
        with StubServer(answering(wait_answer(), wait_answer(block(1, c0="7")))) as server:
            ids = [f"c{number}" for number in range(600)]
            listener = Realplexor().listen(ids, server.url, transport="poll")
            assert next(listener).ids == {"c0": "7"}
        first, second = server.requests
        assert first.startswith(b"POST /?json&position HTTP/1.1\r\n")
        assert second.startswith(b"POST /?json&timeout=25&client=NAME HTTP/1.1\r\n")
        assert body(first) == b"identifier=" + ",".join(ids).encode() + b"\n"

    def test_reconnects_from_the_cursor(self) -> None:
        """Cut without an answer, broken, 503, empty too soon: the listener comes back each time from where it was."""

        def serve(connection: StubConnection, number: int) -> None:
            connection.read()
            if number == 0:
                connection.answer(wait_answer(), headers="X-Realplexor-Cursor: 100\r\nConnection: close\r\n")
            elif number == 2:
                connection.answer("[{", headers="Connection: close\r\n")
            elif number == 3:
                connection.answer("stopping\n", "503 Service Unavailable", "Connection: close\r\n")
            elif number == 4:
                connection.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n \r\n")
            elif number == 5:
                connection.write(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + wait_answer(block(1, a="101")).encode()
                )

        with (
            StubServer(serve) as server,
            Realplexor().listen("a", server.url.rstrip("/"), transport="poll") as listener,
        ):
            assert next(listener) == (1, {"a": "101"})
        assert [marker(request) for request in server.requests] == ["a&json&position"] + [
            "100:a&json&timeout=25&client=NAME"
        ] * 5

    def test_raises_at_the_start_and_for_refusals(self) -> None:
        def refuse(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer("Empty identifier passed\n", "400 Bad Request")

        with StubServer(refuse) as server, pytest.raises(Refused, match="400 Bad Request: Empty identifier passed"):
            Realplexor().listen("abc", server.url, transport="poll")
        with StubServer(answering("hello")) as other, pytest.raises(BrokenResponse, match="is this the WAIT line"):
            Realplexor().listen("abc", other.url, transport="poll")
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{server.address[1]}: Connection refused"):
            Realplexor().listen("abc", server.url, transport="poll")

    def test_close_ends_a_waiting_iteration(self) -> None:
        def wait(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer(wait_answer(), headers="X-Realplexor-Cursor: 1\r\n")
            connection.read()
            connection.read()

        with StubServer(wait) as server:
            listener = Realplexor().listen("a", server.url, transport="poll")
            threading.Timer(0.1, listener.close).start()
            assert list(listener) == []  # its poll would never be answered

    @pytest.mark.parametrize("url", ["", "localhost:8088", "ftp://h/", "http:///", "http://h:99999/", "http://h/ x"])
    def test_bad_urls(self, url: str) -> None:
        with pytest.raises(InvalidArgument, match="WAIT URL must be"):
            Realplexor().listen("abc", url)

    @pytest.mark.parametrize("url", ["http://user:secret@h/", "https://user@h:1/rpl/", "http://@h/"])
    def test_credentials_in_a_url(self, url: str) -> None:
        with pytest.raises(InvalidArgument, match=r"WAIT URL must have no USER:PASSWORD@") as caught:
            Realplexor().listen("abc", url)
        assert "secret" not in str(caught.value)


class TestPathsThatCut:
    """A poll that had waited is no bounce (part 9.2). A back-off would take a minute here, and no test would end."""

    @pytest.fixture(autouse=True)
    def _short_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (async_listener, blocking, listening, retrying):
            monkeypatch.setattr(module, "WAITED", 0.1)
        monkeypatch.setattr(retrying, "RETRY_FIRST", 60.0)
        monkeypatch.setattr(retrying, "RETRY_MAX", 60.0)

    @staticmethod
    def polls(*ends: Callable[[StubConnection], None], **options: Any) -> list[bytes]:
        """Ends one poll after another so, each behind a wait of 0.2 s, and then sends; returns the requests."""

        def serve(connection: StubConnection, number: int) -> None:
            while True:
                connection.read()
                at = len(server.requests) - 2
                if at < 0:
                    connection.answer(wait_answer(), headers="X-Realplexor-Cursor: 100\r\n")
                elif at < len(ends):
                    time.sleep(0.2)
                    ends[at](connection)
                else:
                    connection.answer(wait_answer(block(1, a="101")))

        with StubServer(serve) as server, Realplexor().listen("a", server.url, transport="poll", **options) as listener:
            assert next(listener) == (1, {"a": "101"})
            return [request.split(b"\r\n")[0] for request in server.requests]

    @staticmethod
    def status(text: str, headers: str = "") -> Callable[[StubConnection], None]:
        return lambda connection: connection.answer("<html>", text, headers)

    def test_the_next_poll_follows_at_once_from_the_same_place(self, caplog: pytest.LogCaptureFixture) -> None:
        ends = [self.status(f"{status} Cut") for status in (408, 502, 504, 520, 521, 522, 523, 524)]
        ends += [
            self.status("200 OK"),  # a page of the proxy's
            lambda connection: connection.close(),
            self.status("504 Cut", "Connection: close\r\n"),
            self.status("503 Service Unavailable", "Retry-After: 0\r\n"),
        ]
        requests = self.polls(*ends)
        assert len(requests) == len(ends) + 2
        assert all(request.startswith(b"GET /?identifier=100:a&json&timeout=") for request in requests[1:])
        assert "trying again" not in caplog.text

    def test_after_three_cuts_it_asks_for_less(self) -> None:
        requests = self.polls(*[self.status("504 Cut")] * 3)
        assert [request.split(b"timeout=")[1].split(b"&")[0] for request in requests[1:]] == [b"25"] * 3 + [b"1"]

    def test_a_kept_connection_that_was_cut_is_counted_once(self) -> None:
        requests = self.polls(*[lambda connection: connection.close()] * 3)
        assert len(requests) == 5
        assert requests[-1].startswith(b"GET /?identifier=100:a&json&timeout=1&")

    @pytest.mark.parametrize(("seconds", "flag"), [(0, b"json"), (2.5, b"json&timeout=2.5"), (60, b"json&timeout=60")])
    def test_how_long_it_asks_to_wait(self, seconds: float, flag: bytes) -> None:
        assert self.polls(poll_seconds=seconds)[1] == b"GET /?identifier=100:a&%b&client=NAME HTTP/1.1" % flag

    def test_what_no_server_takes_is_refused(self) -> None:
        for seconds in (0.5, -1, 1e9, float("nan")):
            with pytest.raises(InvalidArgument, match="Polls may ask for 1 second or more"):
                Realplexor().listen("a", "http://127.0.0.1:1/", poll_seconds=seconds)

    def test_silence_past_what_was_asked_for_ends_a_poll(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "SILENCE_MARGIN", 1.0)

        def say_nothing(connection: StubConnection) -> None:
            connection.read()

        assert len(self.polls(say_nothing, poll_seconds=1)) == 3

    def test_quick_failures_back_off(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        for module in (async_listener, blocking, listening, retrying):
            monkeypatch.setattr(module, "WAITED", 60.0)
        monkeypatch.setattr(retrying, "RETRY_FIRST", 0.01)
        with caplog.at_level("INFO", "rplx.client"):
            assert len(self.polls(self.status("524 Cut"), self.status("504 Cut"))) == 4
        assert caplog.text.count("trying again") == 2


class TestRetryAfter:
    def test_it_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retrying, "RETRY_FIRST", 0.001)
        at: list[float] = []

        def serve(connection: StubConnection, number: int) -> None:
            for turn in range(4):
                connection.read()
                at.append(time.monotonic())
                if turn in (1, 2):
                    connection.answer("", ("429 Too Many", "503 Away")[turn - 1], "Retry-After: 1\r\n")
                else:
                    connection.answer(wait_answer(*[block(1, a="101")] * (turn > 0)))

        with StubServer(serve) as server, Realplexor().listen("a", server.url, transport="poll") as listener:
            next(listener)
        assert at[2] - at[1] >= 1
        assert at[3] - at[2] >= 1

    @pytest.mark.parametrize(
        ("status", "given", "seconds"),
        [
            (503, "7", 7),
            (429, "0", 0),
            (503, "9999999999999", 300),
            (503, "-1", 0),
            (503, "1.5", 0),
            (503, "soon", 0),
            (503, "Wed, 21 Oct 2015 07:28:00 GMT", 0),
            (503, "Wed, 21 Oct 9015 07:28:00 GMT", 300),
            (502, "7", 0),
        ],
    )
    def test_what_it_says(self, status: int, given: str, seconds: float) -> None:
        assert Answer(status, "", {"retry-after": given}, b"", False).refusal().retry_after == seconds

    def test_a_send_tells_it(self) -> None:
        def refuse(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer("away\n", "503 Service Unavailable", "Retry-After: 3\r\n")

        with StubServer(refuse) as server, pytest.raises(Refused) as caught:
            Realplexor(*server.address).send("a", 1)
        assert caught.value.retry_after == 3


class TestWaits:
    def cut(self, waits: Waits, waited: float, now: float) -> None:
        assert waits.failed(ConnectionLost("cut", unknown=True), waited, now)

    def test_half_of_what_the_path_allowed_for_an_hour(self) -> None:
        waits = Waits(25)
        for _ in range(2):
            self.cut(waits, 20, 100)
            assert waits.seconds(100) == 25
        self.cut(waits, 20, 100)
        assert waits.seconds(100) == waits.seconds(3699) == 10
        for _ in range(3):
            self.cut(waits, 6, 200)
        assert waits.seconds(201) == 3
        assert waits.seconds(3801) == 25

    def test_only_cuts_in_a_row_count(self) -> None:
        waits = Waits(25)
        for _ in range(3):
            self.cut(waits, 20, 1)
            self.cut(waits, 20, 1)
            waits.ended()
        assert waits.seconds(1) == 25

    def test_what_the_server_or_the_client_ended_is_no_cut(self) -> None:
        waits = Waits(25)
        for error in [Timeout("given up", unknown=True), Refused(503, "", "", 5.0), Refused(500, "", "")] * 3:
            assert waits.failed(error, 20, 1)
        assert waits.seconds(1) == 25
        assert not waits.failed(ConnectionLost("quick", unknown=True), 5, 1)

    def test_where_it_is_left_to_the_server(self) -> None:
        waits = Waits(0)
        for _ in range(3):
            self.cut(waits, 60, 1)
        assert waits.seconds(1) == 30


def test_a_gap_of_all_is_one_in_every_channel() -> None:
    def serve(connection: StubConnection, number: int) -> None:
        connection.read()
        connection.answer(wait_answer(), headers="X-Realplexor-Cursor: 100\r\nX-Realplexor-Gap: *\r\n")
        connection.read()

    with StubServer(serve) as server:
        gaps: list[list[str]] = []
        listener = Realplexor(namespace="n_").listen(
            {"a": "9", "b": "99", "c": None}, server.url, transport="poll", on_gap=gaps.append
        )
        assert gaps == [["a", "b", "c"]]
        assert listener.cursors == {"a": "100", "b": "100", "c": "100"}
        listener.close()


def test_from_a_cursor_ahead_of_the_server_it_goes_on_from_the_present() -> None:
    def serve(connection: StubConnection, number: int) -> None:
        connection.read()
        connection.answer(wait_answer(), headers="X-Realplexor-Cursor: 100\r\nX-Realplexor-Gap: a\r\n")
        connection.read()
        connection.answer(wait_answer(block(1, a="101")), headers="X-Realplexor-Cursor: 100.5\r\n")
        connection.read()

    with StubServer(serve) as server:
        gaps: list[list[str]] = []
        listener = Realplexor().listen({"a": "999"}, server.url, transport="poll", on_gap=gaps.append)
        assert next(listener) == (1, {"a": "101"})
        assert gaps == [["a"]]
        assert listener.cursors == {"a": "101"}
        listener.close()
    assert b"identifier=999:a" in server.requests[0]
    assert b"identifier=100:a" in server.requests[1]
