"""The Python client listens: polls that follow each other from where the last answer left off."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from rplx.client import (
    BrokenResponse,
    ConnectionFailed,
    InvalidArgument,
    Realplexor,
    Refused,
)
from tests.clients.stub import StubConnection, StubServer, answering, body, marker


def block(data: Any, **ids: str) -> str:
    return f'  {{\n    "ids": {json.dumps(ids)},\n    "data": {json.dumps(data)}\n  }}'


def wait_answer(*blocks: str) -> str:
    return " \r\n" + ("[\n" + ",\n".join(blocks) + "\n]" if blocks else "")


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
                listener.close()

        with StubServer(serve) as server:
            client = Realplexor(namespace="n_")
            listener = client.listen({"a": None, "b": "5"}, server.url + "rpl/?x=1", on_gap=tell)
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
            b"GET /rpl/?x=1&identifier=100.25:n_a,5:n_b&json HTTP/1.1",
            b"GET /rpl/?x=1&identifier=102:n_a,102.0:n_b&json HTTP/1.1",
            b"GET /rpl/?x=1&identifier=102:n_a,103:n_b&json&position HTTP/1.1",
            b"GET /rpl/?x=1&identifier=103.5:n_a,103:n_b&json HTTP/1.1",
        ]
        assert len(server.connections) == 1

    def test_long_lists_go_as_a_post(self) -> None:
        with StubServer(answering(wait_answer(), wait_answer(block(1, c0="7")))) as server:
            ids = [f"c{number}" for number in range(600)]
            listener = Realplexor().listen(ids, server.url)
            assert next(listener).ids == {"c0": "7"}
        first, second = server.requests
        assert first.startswith(b"POST /?json&position HTTP/1.1\r\n")
        assert second.startswith(b"POST /?json HTTP/1.1\r\n")
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

        with StubServer(serve) as server, Realplexor().listen("a", server.url.rstrip("/")) as listener:
            assert next(listener) == (1, {"a": "101"})
        assert [marker(request) for request in server.requests] == ["a&json&position"] + ["100:a&json"] * 5

    def test_raises_at_the_start_and_for_refusals(self) -> None:
        def refuse(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer("Empty identifier passed\n", "400 Bad Request")

        with StubServer(refuse) as server, pytest.raises(Refused, match="400 Bad Request: Empty identifier passed"):
            Realplexor().listen("abc", server.url)
        with StubServer(answering("hello")) as other, pytest.raises(BrokenResponse, match="is this the WAIT line"):
            Realplexor().listen("abc", other.url)
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{server.address[1]}: Connection refused"):
            Realplexor().listen("abc", server.url)

    def test_close_ends_a_waiting_iteration(self) -> None:
        def wait(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer(wait_answer(), headers="X-Realplexor-Cursor: 1\r\n")
            connection.read()
            connection.read()

        with StubServer(wait) as server:
            listener = Realplexor().listen("a", server.url)
            threading.Timer(0.1, listener.close).start()
            started = time.monotonic()
            assert list(listener) == []
            assert time.monotonic() - started < 3

    @pytest.mark.parametrize("url", ["", "localhost:8088", "ftp://h/", "http:///", "http://h:99999/", "http://h/ x"])
    def test_bad_urls(self, url: str) -> None:
        with pytest.raises(InvalidArgument, match="WAIT URL must be"):
            Realplexor().listen("abc", url)


def test_from_a_cursor_ahead_of_the_server_it_goes_on_from_the_present() -> None:
    def serve(connection: StubConnection, number: int) -> None:
        connection.read()
        connection.answer(wait_answer(), headers="X-Realplexor-Cursor: 100\r\nX-Realplexor-Gap: a\r\n")
        connection.read()
        connection.answer(wait_answer(block(1, a="101")), headers="X-Realplexor-Cursor: 100.5\r\n")
        connection.read()

    with StubServer(serve) as server:
        gaps: list[list[str]] = []
        listener = Realplexor().listen({"a": "999"}, server.url, on_gap=gaps.append)
        assert next(listener) == (1, {"a": "101"})
        assert gaps == [["a"]]
        assert listener.cursors == {"a": "101"}
        listener.close()
    assert b"identifier=999:a" in server.requests[0]
    assert b"identifier=100:a" in server.requests[1]
