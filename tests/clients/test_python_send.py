"""The Python client sends: the bytes on the wire, one message or many, and what becomes of refusals."""

from __future__ import annotations

import re
import socket
import threading
from array import array
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import anyio
import pytest

from rplx.client import (
    AsyncRealplexor,
    InvalidArgument,
    NotStored,
    Realplexor,
    Refused,
    SendManyError,
)
from rplx.client.names import checked_json
from tests.clients.stub import StubConnection, StubServer, answering, body, marker, receipt_for, receipts


@pytest.mark.usefixtures("each_client")
class TestSend:
    def test_request_bytes(self) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            assert client.send("abc", {"текст": "привет"}) == {"abc": "1000.5"}
        message = '{"текст":"привет"}'.encode()
        assert server.requests == [
            b"POST / HTTP/1.1\r\n"
            b"Host: 127.0.0.1:%d\r\n"
            b"X-Realplexor: identifier=abc\r\n"
            b"Content-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % (server.address[1], len(message)) + message
        ]

    @pytest.mark.parametrize(
        ("ids", "limit_to", "list_"),
        [
            ("abc", None, "abc"),
            (["abc", "def", "abc"], None, "abc,def"),
            (("abc", 7), None, "abc,7"),
            ({"abc": None, "def": 12}, None, "abc,12:def"),
            ({"abc": "12.10", "def": Decimal("1795346940.571800")}, None, "12.10:abc,1795346940.571800:def"),
            ({"abc": 5.25}, None, "5.25:abc"),
            ("abc", "ghi", "abc,*ghi"),
            (["abc"], ["ghi", "jkl"], "abc,*ghi,*jkl"),
            (lambda: (id for id in ("x", "y")), None, "x,y"),
            ({"x"}, frozenset("y"), "x,*y"),
            ({"x": None}.keys(), {1: "y"}.values(), "x,*y"),
            (7, 8, "7,*8"),
        ],
    )
    def test_marker(self, ids: Any, limit_to: Any, list_: str) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            client.send(ids() if callable(ids) else ids, 1, limit_to)
        assert [marker(request) for request in server.requests] == [list_]

    @pytest.mark.parametrize(
        ("options", "prefix", "credentials"),
        [
            ({"namespace": "shop_"}, "shop_", ""),
            ({"login": "dk", "password": "se:cret"}, "dk_", "dk:se:cret@"),
            ({"namespace": "shop_", "login": "dk", "password": "p"}, "dk_shop_", "dk:p@"),
        ],
    )
    def test_namespace_and_login_go_out_and_are_taken_off(
        self, options: dict[str, Any], prefix: str, credentials: str
    ) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address, **options) as client:
            assert client.send({"abc": 5, "def": None}, 1, ["ghi"]) == {"abc": "1000.5", "def": "1000.5"}
        assert marker(server.requests[0]) == f"{credentials}5:{prefix}abc,{prefix}def,*{prefix}ghi"

    @pytest.mark.parametrize(
        ("ids", "data", "text"),
        [
            ("a b", 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a b" given'),
            ("", 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "" given'),
            (["ok", "ж"], 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "ж" given'),
            ("abc\r\nX: y", 1, r'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "abc\r\nX: y" given'),
            ("abc\u2028\ud800", 1, r'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "abc\u2028\ud800" given'),
            (" " * 300, 1, f'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "{" " * 200}..." given'),
            ({"abc": "5\n"}, 1, r'Cursor must be numeric, "5\n" given'),
            (None, 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "None" given'),
            ([None], 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "None" given'),
            ({"abc": "1x"}, 1, 'Cursor must be numeric, "1x" given'),
            ({"abc": -5}, 1, 'Cursor must be numeric, "-5" given'),
            ({"abc": 1e30}, 1, 'Cursor must be numeric, "1e+30" given'),
            ({"abc": "٣"}, 1, 'Cursor must be numeric, "٣" given'),
            ({"abc": True}, 1, 'Cursor must be numeric, "True" given'),
            (b"chat", 1, "Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, \"b'chat'\" given"),
            (bytearray(b"chat"), 1, "Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, \"bytearray(b'chat')\" given"),
            (memoryview(b"chat"), 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "<memory at '),
            (array("B", b"chat"), 1, "Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, \"array('B', "),
            ([b"chat"], 1, "Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, \"b'chat'\" given"),
            ({b"chat": None}, 1, "Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, \"b'chat'\" given"),
            ({"chat": b"5"}, 1, "Cursor must be numeric, \"b'5'\" given"),
            ({"chat": [5]}, 1, 'Cursor must be numeric, "[5]" given'),
            ({"chat": None}.values(), 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "None" given'),
            ({"chat", None}, 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "None" given'),
            (1.5, 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "1.5" given'),
            (-1, 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "-1" given'),
            (True, 1, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "True" given'),
            (object, 1, "Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, \"<class 'object'>\" given"),
            ([], 1, "No identifier given"),
            (set(), 1, "No identifier given"),
            ("abc", {1, 2}, "data has no JSON form: Object of type set is not JSON serializable"),
            ("abc", float("nan"), "data has no JSON form: Out of range float values are not JSON compliant"),
            ("abc", "\ud800", "data has no JSON form: 'utf-8' codec can't encode character '\\ud800'"),
        ],
    )
    def test_what_cannot_be_sent_is_not_sent(self, ids: Any, data: Any, text: str) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            with pytest.raises(InvalidArgument, match=re.escape(text)):
                client.send(ids, data)
            assert not server.connections

    @pytest.mark.parametrize("limit_to", [b"friends", bytearray(b"f"), [b"friends"], {b"friends"}])
    def test_limiters_that_are_bytes(self, limit_to: Any) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            with pytest.raises(InvalidArgument, match="Identifier must match"):
                client.send("abc", 1, limit_to)
            assert not server.connections

    def test_limited_to_nobody_is_not_sent_to_everybody(self) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            with pytest.raises(InvalidArgument, match="No identifier to limit the message to given"):
                client.send("abc", 1, [])
            assert not server.connections

    def test_json_text_is_sent_as_it_stands(self) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            client.send_json("abc", ' {"price": 1.10, "n": 1e400}\n')
            with pytest.raises(InvalidArgument, match="not JSON: Expecting value"):
                client.send_json("abc", "hello")
        assert [body(request) for request in server.requests] == [b'{"price": 1.10, "n": 1e400}']

    def test_partly_stored(self) -> None:
        with (
            StubServer(answering("abc 5\n")) as server,
            Realplexor(*server.address) as client,
            pytest.raises(NotStored) as caught,
        ):
            client.send(["abc", "def"], 1)
        assert caught.value.receipt == {"abc": "5"}
        assert caught.value.missing == ["def"]

    def test_refused(self) -> None:
        def refuse(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer("unknown login: x\n", "403 Access Deined", "Connection: close\r\n")

        with (
            StubServer(refuse) as server,
            Realplexor(*server.address, login="x", password="y") as client,
            pytest.raises(Refused, match="403 Access Deined: unknown login: x") as caught,
        ):
            client.send("abc", 1)
        error = caught.value
        assert (error.status, error.reason, error.text) == (403, "Access Deined", "unknown login: x")
        assert not error.unknown

    def test_refusal_before_the_end_of_a_big_message(self) -> None:
        """A server that reads no further than its limit: the reason arrives, not only a reset."""

        def refuse(connection: StubConnection, number: int) -> None:
            connection.socket.recv(100)
            connection.answer("more than 204800 bytes\n", "413 Content Too Large", "Connection: close\r\n")
            connection.socket.shutdown(socket.SHUT_WR)
            while connection.socket.recv(1 << 20):
                pass

        with (
            StubServer(refuse) as server,
            Realplexor(*server.address) as client,
            pytest.raises(Refused, match="413 Content Too Large: more than 204800 bytes"),
        ):
            client.send("abc", "x" * 10_000_000)


@pytest.mark.parametrize(
    "text", ["", "NaN", "[Infinity]", "[01]", '"a\nb"', "{'a': 1}", "1 2", "\ufeff1", b"\xff", "[" * 100_000, '{"a":}']
)
def test_strict_json_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"^not JSON: "):
        checked_json(text)


@pytest.mark.parametrize("text", ["1", '"a"', "null", '{"a": [1, 2.50, -0, 1E5]}', "9" * 10_000, '"\\ud800"'])
def test_strict_json_taken(text: str) -> None:
    assert checked_json(f" {text}\r\n") == text.encode()
    for kind in (bytes, bytearray, memoryview):
        assert checked_json(kind(f" {text}\r\n".encode())) == text.encode()


@pytest.mark.parametrize("text", [None, 5, ["1"]])
def test_what_is_no_json_text_at_all(text: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^not JSON: neither text nor bytes, but "):
        checked_json(text)


@pytest.mark.usefixtures("each_client")
class TestSendMany:
    def test_limiters_and_none(self) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address, "n_") as client:
            assert client.send_many([]) == []
            assert client.send_many([(["a", "b"], 1, "c")]) == [{"a": "1000.5", "b": "1000.5"}]
        assert [marker(request) for request in server.requests] == ["n_a,n_b,*n_c"]

    def test_refusal_that_closes_leaves_the_rest_unsent(self) -> None:
        def refuse_the_third(connection: StubConnection, number: int) -> None:
            for turn in range(2):
                connection.answer(receipt_for(connection.read(), turn))
            connection.read()
            connection.answer("too long\n", "413 Content Too Large", "Connection: close\r\n")
            connection.socket.shutdown(socket.SHUT_WR)
            while connection.socket.recv(65536):
                pass

        with StubServer(refuse_the_third) as server, Realplexor(*server.address) as client:
            with pytest.raises(SendManyError, match="message 2: 413") as caught:
                client.send_many([("abc", number) for number in range(500)])
            assert sorted(caught.value.receipts) == [0, 1]
            assert caught.value.unsure == []
            assert len(server.connections) == 1

    def test_announced_close_goes_on_on_a_new_connection(self) -> None:
        """What a proxy does after so many requests on one connection: it says so, and looks at nothing behind it."""

        def three_each(connection: StubConnection, number: int) -> None:
            for turn in range(3):
                receipt = receipt_for(connection.read(), 10 * number + turn)
                connection.answer(receipt, headers="Connection: close\r\n" if turn == 2 else "")
            connection.socket.shutdown(socket.SHUT_WR)
            while connection.socket.recv(65536):
                pass

        with StubServer(three_each) as server, Realplexor(*server.address) as client:
            answers = client.send_many([("abc", number) for number in range(8)])
            assert [answer["abc"] for answer in answers] == [f"{1000 + n}.5" for n in (0, 1, 2, 10, 11, 12, 20, 21)]
            assert [body(request) for request in server.requests] == [b"%d" % number for number in range(8)]

    def test_wrong_message_stops_behind_those_before(self) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            with pytest.raises(SendManyError, match=r'message 1: Identifier must match .*, "a b"') as caught:
                client.send_many([("abc", 1), ("a b", 2), ("abc", 3)])
            assert list(caught.value.receipts) == [0]
            with pytest.raises(SendManyError, match=r"message 0: a message is \(ids, data\)"):
                client.send_many(["abc"])  # type: ignore[list-item]
        assert [body(request) for request in server.requests] == [b"1"]

    def test_error_of_the_iterable_comes_through(self) -> None:
        def messages() -> Any:
            yield "abc", 1
            raise KeyError("row")

        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            with pytest.raises(KeyError, match="row"):
                client.send_many(messages())
            assert [body(request) for request in server.requests] == [b"1"]


class TestPipelining:
    """Of the client that blocks alone."""

    def test_pipelined_in_order(self) -> None:
        """All requests come on one connection, and a second one before the first is answered."""
        both = threading.Event()

        def hold_the_first(connection: StubConnection, number: int) -> None:
            first = connection.read()
            connection.read()
            both.set()
            connection.answer(receipt_for(first, 0))
            connection.answer(receipt_for(connection.requests[1], 1))
            for turn in range(2, 1000):
                connection.answer(receipt_for(connection.read(), turn))

        with StubServer(hold_the_first) as server, Realplexor(*server.address) as client:
            answers = client.send_many((f"c{number % 3}", number) for number in range(500))
            assert both.is_set()
            assert answers == [{f"c{number % 3}": f"{1000 + number}.5"} for number in range(500)]
            assert [body(request) for request in server.requests] == [b"%d" % number for number in range(500)]
            assert len(server.connections) == 1
            assert client.send("abc", 1) == {"abc": "1500.5"}  # on the same connection still

    def test_refused_in_the_middle(self) -> None:
        def refuse_the_third(connection: StubConnection, number: int) -> None:
            for turn in range(1000):
                request = connection.read()
                if turn == 2:
                    connection.answer("not JSON\n", "400 Bad Request")
                else:
                    connection.answer(receipt_for(request, turn))

        with (
            StubServer(refuse_the_third) as server,
            Realplexor(*server.address) as client,
            pytest.raises(SendManyError, match=r"^message 2: 400 Bad Request: not JSON$") as caught,
        ):
            client.send_many([("abc", number) for number in range(5)])
        error = caught.value
        assert sorted(error.receipts) == [0, 1, 3, 4]
        assert list(error.failed) == [2]
        assert not error.unknown
        assert isinstance(error.__cause__, Refused)

    def test_lost_connection_names_the_unsure(self) -> None:
        def die(connection: StubConnection, number: int) -> None:
            connection.answer(receipt_for(connection.read(), 0))
            connection.read()

        with (
            StubServer(die) as server,
            Realplexor(*server.address) as client,
            pytest.raises(SendManyError, match=r"^after 1 messages: ") as caught,
        ):
            client.send_many([("abc", number) for number in range(4)])
        assert caught.value.receipts == {0: {"abc": "1000.5"}}
        assert caught.value.unsure == [1, 2, 3]
        assert caught.value.unknown


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
class TestOneByOne:
    """The asynchronous client's `send_many` waits for each answer."""

    @staticmethod
    def sent(backend: str, server: StubServer, messages: Any) -> list[dict[str, str]]:
        async def send() -> list[dict[str, str]]:
            async with AsyncRealplexor(*server.address) as client:
                return await client.send_many(messages)

        return anyio.run(send, backend=backend)

    def test_an_asynchronous_generator(self, backend: str) -> None:
        async def messages() -> AsyncIterator[tuple[str, int]]:
            for number in range(3):
                yield "abc", number

        with StubServer(receipts) as server:
            assert self.sent(backend, server, messages()) == [{"abc": f"{1000 + number}.5"} for number in range(3)]
            assert len(server.connections) == 1

    def test_nothing_is_sent_behind_a_refusal(self, backend: str) -> None:
        def refuse(connection: StubConnection, number: int) -> None:
            connection.answer(receipt_for(connection.read(), 0))
            connection.read()
            connection.answer("not JSON\n", "400 Bad Request")
            connection.read()

        with (
            StubServer(refuse) as server,
            pytest.raises(SendManyError, match=r"^message 1: 400 Bad Request: not JSON$") as caught,
        ):
            self.sent(backend, server, [("abc", number) for number in range(5)])
        assert caught.value.receipts == {0: {"abc": "1000.5"}}
        assert list(caught.value.failed) == [1]
        assert caught.value.unsure == []
        assert len(server.requests) == 2

    def test_a_lost_connection_leaves_one_unsure(self, backend: str) -> None:
        def die(connection: StubConnection, number: int) -> None:
            connection.answer(receipt_for(connection.read(), 0))
            connection.read()

        with StubServer(die) as server, pytest.raises(SendManyError, match=r"^after 1 messages: ") as caught:
            self.sent(backend, server, [("abc", number) for number in range(4)])
        assert caught.value.receipts == {0: {"abc": "1000.5"}}
        assert caught.value.failed == {}
        assert caught.value.unsure == [1]
