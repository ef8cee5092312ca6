"""The old Python names: their bytes, their texts, and the limits of what they read (protocol page, part 6)."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from rplx.client import (
    Dklab_Realplexor,
    Dklab_Realplexor_Exception,
)
from tests.clients.stub import StubConnection, StubServer, body, marker
from tests.redis_server import free_port


class TestOldNames:
    """The texts and bytes of the protocol page, part 6."""

    def test_send(self) -> None:
        def half_closed(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.requests.append(connection.file.read())  # to the client's half-close; then closed, no answer

        with StubServer(half_closed) as server:
            old = Dklab_Realplexor(*server.address, "n_")
            old.logon("dk", "p")
            assert old.send({"abc": 5, "def": None}, {"k": "ж"}, ["x"]) is None  # type: ignore[func-returns-value]
        message = '{"k":"ж"}'.encode()
        assert server.requests == [
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\nContent-Length: %d\r\n"
            b"X-Realplexor: identifier=dk:p@5:dk_n_abc,dk_n_def,*dk_n_x\r\n\r\n"
            % (server.address[1], len(message))
            + message,
            b"",
        ]

    @pytest.mark.parametrize(
        "ids",
        [[], {}, {"a": -5}, {"a": "-5", "b": "1e3", "c": float("inf"), "d": " 5", "e": "\r\n5", "f": Decimal("-1")}],
    )
    def test_send_to_nobody(self, ids: Any) -> None:
        with StubServer(answering_once("")) as server:
            Dklab_Realplexor(*server.address).send(ids, 1)
            Dklab_Realplexor(*server.address).send(ids, 1, ["x"])
            assert not server.connections

    def test_a_cursor_that_the_wire_has_not_leaves_out_that_id_alone(self) -> None:
        with StubServer(answering_once("")) as server:
            Dklab_Realplexor(*server.address).send({"a": -5, "b": None, "c": 7, "d": "1e3"}, 1)
        assert marker(server.requests[0]) == "b,7:c"

    def test_commands(self) -> None:
        with StubServer(answering_once("n_abc 2\n")) as server:
            assert Dklab_Realplexor(*server.address, "n_").cmdOnline() == ["abc"]
            assert Dklab_Realplexor(*server.address, "n_").cmdOnlineWithCounters(["a"]) == {"abc": 2}
            assert [body(request) for request in server.requests] == [b"ONLINE n_\n", b"ONLINE n_a\n"]
        with StubServer(answering_once("online 11:n_abc\n")) as server:
            old = Dklab_Realplexor(*server.address, "n_")
            assert old.cmdWatch(10) == [{"event": "online", "pos": "11", "id": "abc"}]
        with StubServer(answering_once("")) as server:
            assert Dklab_Realplexor(*server.address).cmdOnline() == []

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (
                b"HTTP/1.0 403 Access Deined\r\nContent-Length: 17\r\n\r\nunknown login: x\n",
                "Request failed: 403 Access Deined\nunknown login: x\n",
            ),
            (b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nx", "No Content-Length header in response headers: A: b"),
            (
                b"HTTP/1.0 200 OK\r\nContent-Length: 60\r\n\r\nabc",
                "Response length (3) is different than specified in Content-Length header (60): "
                "possibly broken response",
            ),
            (b"hello", "Non-HTTP response received: hello"),
        ],
    )
    def test_answers_that_fail(self, answer: bytes, text: str) -> None:
        def give(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.file.read()
            connection.write(answer)

        with StubServer(give) as server:
            old = Dklab_Realplexor(*server.address)
            calls: list[Callable[[], object]] = [lambda: old.send("abc", 1), old.cmdOnline]
            for call in calls:
                with pytest.raises(Dklab_Realplexor_Exception) as caught:
                    call()
                assert str(caught.value) == text

    def test_texts_of_wrong_arguments(self) -> None:
        old = Dklab_Realplexor("127.0.0.1", "10010")
        calls: list[tuple[Callable[[], object], str]] = [
            (lambda: old.send("a b", 1), 'Identifier must be alphanumeric, "a b" given'),
            (lambda: old.send("a-b", 1), 'Identifier must be alphanumeric, "a-b" given'),
            (lambda: old.send("a", 1, ["b", "c.d"]), 'Identifier must be alphanumeric, "c.d" given'),
            (lambda: old.send("a\nb", 1), r'Identifier must be alphanumeric, "a\nb" given'),
            (lambda: old.cmdOnline("a-"), 'Identifier must be alphanumeric, "a-" given'),
            (lambda: old.cmdWatch(0, ["a."]), 'Identifier must be alphanumeric, "a." given'),
            (lambda: old.send({"a": "x"}, 1), 'Cursor must be numeric, "x" given'),
            (lambda: old.cmdWatch("x"), 'Position value must be numeric, "x" given'),
        ]
        for call, text in calls:
            with pytest.raises(Dklab_Realplexor_Exception) as caught:
                call()
            assert str(caught.value) == text

    def test_connection_refused(self) -> None:
        with pytest.raises(Dklab_Realplexor_Exception) as caught:
            Dklab_Realplexor("127.0.0.1", free_port()).send("abc", 1)
        assert str(caught.value) == "Error #111: Connection refused"

    @pytest.mark.parametrize(
        "arguments",
        [
            ("127.0.0.1", 1, None, "identifier=x\r\nEvil: y\r\nX"),
            ("127.0.0.1", 1, "n\r\nEvil: y", "identifier"),
            ("127.0.0.1\r\nEvil: y", 1, None, "identifier"),
            ("127.0.0.1", "1\r\nEvil: y", None, "identifier"),
            ("127.0.0.1", None, None, "identifier"),
            (None, 1, None, "identifier"),
        ],
    )
    def test_nothing_can_write_a_header(self, arguments: Any) -> None:
        with pytest.raises(Dklab_Realplexor_Exception):
            Dklab_Realplexor(*arguments)

    @pytest.mark.parametrize(
        ("login", "password"), [("a\r\nEvil: y", "p"), ("a", "p\r\nEvil:y"), ("a", "p\0"), ("a", b"p")]
    )
    def test_no_login_can_write_a_header(self, login: Any, password: Any) -> None:
        with pytest.raises(Dklab_Realplexor_Exception):
            Dklab_Realplexor("127.0.0.1", 1).logon(login, password)

    def test_an_endless_answer_is_given_up(self) -> None:
        def flood(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            while True:
                connection.write(b"abc 1\n" * 10_000)

        with StubServer(flood) as server:
            old = Dklab_Realplexor(*server.address)
            old.answer_max = 1_000_000
            with pytest.raises(Dklab_Realplexor_Exception, match=r"^Answer is longer than 1000000 bytes$"):
                old.cmdOnline()

    def test_an_answer_that_trickles_is_given_up(self) -> None:
        """Each byte comes in time, the whole does not."""

        def trickle(connection: StubConnection, number: int) -> None:
            connection.read()
            while True:
                connection.write(b"H")
                time.sleep(0.02)

        with StubServer(trickle) as server:
            old = Dklab_Realplexor(*server.address)
            old.call_timeout = 0.3
            with pytest.raises(Dklab_Realplexor_Exception, match=r"^Error #0: timed out$"):
                old.cmdOnline()

    def test_limits_are_there_without_being_asked_for(self) -> None:
        old = Dklab_Realplexor("127.0.0.1", 1)
        assert 0 < old.timeout <= old.call_timeout <= 600
        assert 0 < old.answer_max <= 1 << 30


def answering_once(text: str) -> Any:
    def conversation(connection: StubConnection, number: int) -> None:
        connection.read()
        connection.file.read()
        connection.answer(text)

    return conversation
