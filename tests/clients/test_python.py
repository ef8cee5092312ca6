"""The Python client against scripted servers: the bytes that it sends, and what it makes of each kind of answer."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from rplx.client import (
    BrokenResponse,
    ConnectionFailed,
    ConnectionLost,
    Dklab_Realplexor,
    Dklab_Realplexor_Exception,
    Event,
    InvalidArgument,
    NotStored,
    Realplexor,
    RealplexorError,
    Refused,
    SendManyError,
    Timeout,
)
from rplx.client.names import checked_json
from tests.clients.stub import StubConnection, StubServer, answering


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
            ((id for id in ("x", "y")), None, "x,y"),
        ],
    )
    def test_marker(self, ids: Any, limit_to: Any, list_: str) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            client.send(ids, 1, limit_to)
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
            ("a b", 1, 'Identifier must be alphanumeric, "a b" given'),
            ("", 1, 'Identifier must be alphanumeric, "" given'),
            (["ok", "ж"], 1, 'Identifier must be alphanumeric, "ж" given'),
            ("abc\n", 1, 'Identifier must be alphanumeric, "abc\n" given'),
            (None, 1, 'Identifier must be alphanumeric, "None" given'),
            ([None], 1, 'Identifier must be alphanumeric, "None" given'),
            ({"abc": "1x"}, 1, 'Cursor must be numeric, "1x" given'),
            ({"abc": -5}, 1, 'Cursor must be numeric, "-5" given'),
            ({"abc": 1e30}, 1, 'Cursor must be numeric, "1e+30" given'),
            ({"abc": "٣"}, 1, 'Cursor must be numeric, "٣" given'),
            ({"abc": True}, 1, 'Cursor must be numeric, "True" given'),
            ([], 1, "No identifier given"),
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


class TestConnections:
    def test_kept_and_reconnected(self) -> None:
        """One connection serves many calls; one that the server closed in between is replaced without a repetition."""

        def two_each(connection: StubConnection, number: int) -> None:
            for turn in range(2):
                connection.answer(receipt_for(connection.read(), turn))

        with StubServer(two_each) as server, Realplexor(*server.address) as client:
            for message in range(6):
                client.send("abc", message)
                time.sleep(0.02)  # the close arrives
            assert [len(connection.requests) for connection in server.connections] == [2, 2, 2]
            assert [body(request) for request in server.requests] == [b"0", b"1", b"2", b"3", b"4", b"5"]

    def test_connection_close_is_obeyed(self) -> None:
        def closing(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer("abc 5\n", headers="Connection: close\r\n")
            connection.read()

        with StubServer(closing) as server, Realplexor(*server.address) as client:
            client.send("abc", 1)
            client.send("abc", 2)
            assert len(server.connections) == 2

    def test_a_send_whose_answer_is_lost_is_not_repeated(self) -> None:
        """The kept connection dies after the second request was read: whether it was stored is unknown."""

        def one_answer(connection: StubConnection, number: int) -> None:
            connection.answer(receipt_for(connection.read(), 0))
            connection.read()

        with StubServer(one_answer) as server, Realplexor(*server.address) as client:
            client.send("abc", 1)
            with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:\d+: waiting for the answer") as caught:
                client.send("abc", 2)
            assert caught.value.unknown
            assert [body(request) for request in server.requests] == [b"1", b"2"]

    def test_a_question_whose_answer_is_lost_is_repeated(self) -> None:
        def one_answer(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer(f"abc {number}\n")
            connection.read()

        with StubServer(one_answer) as server, Realplexor(*server.address) as client:
            assert client.online_with_counters() == {"abc": 0}
            assert client.online_with_counters() == {"abc": 1}
            assert len(server.connections) == 2

    def test_a_new_connection_that_is_lost_is_an_error(self) -> None:
        with StubServer(lambda connection, number: None) as server, Realplexor(*server.address) as client:
            with pytest.raises(ConnectionLost):
                client.online()
            assert len(server.connections) == 1

    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=rf"^127\.0\.0\.1:{port}: Connection refused$") as caught:
            Realplexor("127.0.0.1", port).send("abc", 1)
        assert isinstance(caught.value, ConnectionError)
        assert not caught.value.unknown

    def test_no_such_host(self) -> None:
        with pytest.raises(ConnectionFailed, match=r"^no-such-host\.invalid:10010: "):
            Realplexor("no-such-host.invalid").online()

    def test_timeout_is_for_the_whole_call(self) -> None:
        """Bytes that trickle in do not stretch it."""

        def trickle(connection: StubConnection, number: int) -> None:
            connection.read()
            while True:
                connection.write(b"H")
                time.sleep(0.05)

        with StubServer(trickle) as server, Realplexor(*server.address, timeout=0.3) as client:
            started = time.monotonic()
            with pytest.raises(Timeout, match=r"waiting for the answer: not done within 0\.3 s") as caught:
                client.send("abc", 1)
            assert 0.25 < time.monotonic() - started < 2
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.unknown

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (b"SSH-2.0-OpenSSH_9.2\r\n", "non-HTTP response received: SSH-2.0-OpenSSH_9.2"),
            (b"HTTP/2.0 200 OK\r\n\r\n", "non-HTTP response received: HTTP/2.0 200 OK"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "'x' is no length"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", "at most 268435456 are read"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n", "not a line of ONLINE: 'hello'"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5002\r\n\r\na " + b"9" * 5000, "not a line of ONLINE: 'a 999"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "head is longer than 65536 bytes"),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", "head is longer than 65536 bytes"),
        ],
    )
    def test_broken_answers(self, answer: bytes, text: str) -> None:
        def broken(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.write(answer)
            connection.read()

        with (
            StubServer(broken) as server,
            Realplexor(*server.address) as client,
            pytest.raises(BrokenResponse, match=re.escape(text)),
        ):
            client.online()

    def test_short_answer(self) -> None:
        def short(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\nabc 1\n")

        with (
            StubServer(short) as server,
            Realplexor(*server.address) as client,
            pytest.raises(ConnectionLost, match="connection closed by the server"),
        ):
            client.online()

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nabc 3\n",
            b"HTTP/1.0 200 OK\r\n\r\nabc 3\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:6\r\n\r\nabc 3\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3;x=y\r\n 3\n\r\n0\r\nT: x\r\n\r\n",
        ],
    )
    def test_every_framing_whole_and_byte_by_byte(self, answer: bytes) -> None:
        def piecewise(connection: StubConnection, number: int) -> None:
            connection.read()
            size = 1 if number else len(answer)
            for start in range(0, len(answer), size):
                connection.write(answer[start : start + size])
                if number:
                    time.sleep(0.0005)

        with StubServer(piecewise) as server:
            for _ in range(2):
                with Realplexor(*server.address) as client:
                    assert client.online_with_counters() == {"abc": 3}

    def test_many_threads(self) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            failures: list[BaseException] = []

            def work(name: str) -> None:
                try:
                    for number in range(50):
                        assert list(client.send(name, number)) == [name]
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failures
            assert len(server.requests) == 400
            assert len(server.connections) < 100

    @pytest.mark.parametrize(
        "arguments",
        [("a b", 1), ("", 1), ("x\r\nEvil: y", 1), ("a..b", 1), ("h", 0), ("h", 65536), ("h", "1"), ("h", 1, "a-b")],
    )
    def test_bad_addresses(self, arguments: Any) -> None:
        with pytest.raises(InvalidArgument):
            Realplexor(*arguments)

    @pytest.mark.parametrize("options", [{"timeout": 0}, {"login": "a b"}, {"login": "a", "password": "x@y"}])
    def test_bad_options(self, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument):
            Realplexor("h", 1, **options)


class TestSendMany:
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

    def test_limiters_and_none(self) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address, "n_") as client:
            assert client.send_many([]) == []
            assert client.send_many([(["a", "b"], 1, "c")]) == [{"a": "1000.5", "b": "1000.5"}]
        assert [marker(request) for request in server.requests] == ["n_a,n_b,*n_c"]

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

    def test_wrong_message_stops_behind_those_before(self) -> None:
        with StubServer(receipts) as server, Realplexor(*server.address) as client:
            with pytest.raises(SendManyError, match='message 1: Identifier must be alphanumeric, "a b"') as caught:
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


class TestQuestions:
    @pytest.mark.parametrize(
        ("options", "prefixes", "sent"),
        [
            ({}, None, b"ONLINE\n"),
            ({}, "ab", b"ONLINE ab\n"),
            ({}, ["a", "b"], b"ONLINE a b\n"),
            ({}, [], b"ONLINE\n"),
            ({"namespace": "n_"}, None, b"ONLINE n_\n"),
            ({"namespace": "n_", "login": "dk", "password": "p"}, ["a", ""], b"ONLINE dk_n_a dk_n_\n"),
        ],
    )
    def test_online(self, options: dict[str, Any], prefixes: Any, sent: bytes) -> None:
        prefix = ("dk_" if "login" in options else "") + options.get("namespace", "")
        with StubServer(answering(f"{prefix}abc 2\n{prefix}b 0\n")) as server:
            client = Realplexor(*server.address, **options)
            assert client.online(prefixes) == ["abc", "b"]
            assert client.online_with_counters(prefixes) == {"abc": 2, "b": 0}
            assert {body(request) for request in server.requests} == {sent}
            assert marker(server.requests[0]) == ("dk:p@" if "login" in options else "")

    def test_bad_prefix(self) -> None:
        with pytest.raises(InvalidArgument, match='Identifier must be alphanumeric, "a b" given'):
            Realplexor().online("a b")

    def test_watch(self) -> None:
        with StubServer(answering("online 11:n_abc\noffline 13:n_def\n", "FAKE 13:FAKE\n", "")) as server:
            client = Realplexor(*server.address, "n_")
            assert client.watch(10, ["a"]) == [("online", "11", "abc"), ("offline", "13", "def")]
            assert client.watch() == [Event("FAKE", "13", "FAKE")]
            assert client.watch("13") == []
            assert [body(request) for request in server.requests] == [
                b"WATCH 10 n_a\n",
                b"WATCH 0 n_\n",
                b"WATCH 13 n_\n",
            ]
            with pytest.raises(InvalidArgument, match='Position value must be numeric, "x" given'):
                client.watch("x")

    def test_stats(self) -> None:
        text = "[data_to_send]\nabc => [20: 3b], [10: 1b, limited by (x, y)]\n\n[connected_fhs]\n\n[pairs_by_fhs]\n"
        with StubServer(answering(text)) as server, Realplexor(*server.address) as client:
            assert client.stats_text() == text
            assert client.stats() == {
                "data_to_send": {"abc": "[20: 3b], [10: 1b, limited by (x, y)]"},
                "connected_fhs": {},
                "pairs_by_fhs": {},
            }

    def test_follow_over_a_lost_connection_and_a_restart(self) -> None:
        """The answers to one question after the other; an empty one stands for a connection that is cut."""
        script = ["FAKE 20:FAKE\n", "online 21:abc\n", None, None, "FAKE 12:FAKE\n", "online 11:abc\noffline 12:def\n"]
        asked: list[bytes] = []

        def scripted(connection: StubConnection, number: int) -> None:
            while True:
                asked.append(body(connection.read()))
                answer = script[len(asked) - 1]
                if answer is None:
                    return
                connection.answer(answer)

        with StubServer(scripted) as server, Realplexor(*server.address) as client:
            following = client.follow(interval=0.01)
            assert [next(following) for _ in range(4)] == [
                ("online", "21", "abc"),
                ("restart", "1", ""),
                ("online", "11", "abc"),
                ("offline", "12", "def"),
            ]
        assert asked == [b"WATCH 0\n", b"WATCH 20\n", b"WATCH 21\n", b"WATCH 21\n", b"WATCH 21\n", b"WATCH 1\n"]

    def test_follow_raises_at_the_start_and_for_refusals(self) -> None:
        def refuse(connection: StubConnection, number: int) -> None:
            connection.read()
            if number == 0:
                connection.answer("FAKE 10:FAKE\n", headers="Connection: close\r\n")
            elif number == 1:
                connection.answer("away\n", "503 Service Unavailable", "Connection: close\r\n")
            else:
                connection.answer("no\n", "403 Access Deined", "Connection: close\r\n")

        with StubServer(refuse) as server, pytest.raises(Refused, match="403"):
            next(Realplexor(*server.address).follow(interval=0.01))
        assert len(server.connections) == 3
        with pytest.raises(ConnectionFailed):
            next(Realplexor(*server.address).follow())


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
            b"GET /rpl/?x=1&identifier=n_a,5:n_b&position HTTP/1.1",
            b"GET /rpl/?x=1&identifier=100.25:n_a,5:n_b HTTP/1.1",
            b"GET /rpl/?x=1&identifier=102:n_a,102.0:n_b HTTP/1.1",
            b"GET /rpl/?x=1&identifier=102:n_a,103:n_b&position HTTP/1.1",
            b"GET /rpl/?x=1&identifier=103.5:n_a,103:n_b HTTP/1.1",
        ]
        assert len(server.connections) == 1

    def test_long_lists_go_as_a_post(self) -> None:
        with StubServer(answering(wait_answer(), wait_answer(block(1, c0="7")))) as server:
            ids = [f"c{number}" for number in range(600)]
            listener = Realplexor().listen(ids, server.url)
            assert next(listener).ids == {"c0": "7"}
        first, second = server.requests
        assert first.startswith(b"POST /?position HTTP/1.1\r\n")
        assert second.startswith(b"POST / HTTP/1.1\r\n")
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
        assert [marker(request) for request in server.requests] == ["a&position"] + ["100:a"] * 5

    def test_raises_at_the_start_and_for_refusals(self) -> None:
        def refuse(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer("Empty identifier passed\n", "400 Bad Request")

        with StubServer(refuse) as server, pytest.raises(Refused, match="400 Bad Request: Empty identifier passed"):
            Realplexor().listen("abc", server.url)
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

    def test_send_to_nobody(self) -> None:
        with StubServer(answering_once("")) as server:
            Dklab_Realplexor(*server.address).send([], 1)
            assert not server.connections

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
            (lambda: old.send({"a": "x"}, 1), 'Cursor must be numeric, "x" given'),
            (lambda: old.cmdWatch("x"), 'Position value must be numeric, "x" given'),
        ]
        for call, text in calls:
            with pytest.raises(Dklab_Realplexor_Exception) as caught:
                call()
            assert str(caught.value) == text

    def test_connection_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = closed.getsockname()
        with pytest.raises(Dklab_Realplexor_Exception) as caught:
            Dklab_Realplexor(*address).send("abc", 1)
        assert str(caught.value) == "Error #111: Connection refused"


def answering_once(text: str) -> Any:
    def conversation(connection: StubConnection, number: int) -> None:
        connection.read()
        connection.file.read()
        connection.answer(text)

    return conversation


def test_every_error_is_of_one_tree() -> None:
    for kind in (InvalidArgument, Refused, NotStored, ConnectionFailed, ConnectionLost, Timeout, BrokenResponse):
        assert issubclass(kind, RealplexorError)
