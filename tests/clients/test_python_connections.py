"""The Python client's connections: kept, lost, slow, broken, and addresses that are none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rplx.client import (
    BrokenResponse,
    ConnectionFailed,
    ConnectionLost,
    InvalidArgument,
    NotStored,
    Realplexor,
    RealplexorError,
    Refused,
    Timeout,
)
from tests.clients.stub import StubConnection, StubServer, body, receipt_for, receipts
from tests.live import LiveServer
from tests.redis_server import free_port
from tests.waiting import PATIENCE, at_best, eventually, takes_less

BROKEN = [
    (b"SSH-2.0-OpenSSH_9.2\r\n", "non-HTTP response received: SSH-2.0-OpenSSH_9.2"),
    (b"HTTP/2.0 200 OK\r\n\r\n", "non-HTTP response received: HTTP/2.0 200 OK"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "'x' is no length"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", "at most 268435456 are read"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n", "not a line of ONLINE: 'hello'"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5002\r\n\r\na " + b"9" * 5000, "not a line of ONLINE: 'a 999"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "head is longer than 65536 bytes"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", "head is longer than 65536 bytes"),
]


@pytest.mark.usefixtures("each_client")
class TestConnections:
    def test_kept_and_reconnected(self) -> None:
        """One connection serves many calls; one that the server closed in between is replaced without a repetition."""

        def two_each(connection: StubConnection, number: int) -> None:
            for turn in range(2):
                connection.answer(receipt_for(connection.read(), turn))

        with StubServer(two_each) as server, Realplexor(*server.address) as client:
            for message in range(6):
                client.send("abc", message)
                if message % 2:
                    eventually(lambda: server.connections[-1].closed)
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
        port = free_port()
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

            def send() -> None:
                started = time.monotonic()
                with pytest.raises(Timeout, match=r"waiting for the answer: not done within 0\.3 s") as caught:
                    client.send("abc", 1)
                assert time.monotonic() - started > 0.25
                assert isinstance(caught.value, TimeoutError)
                assert caught.value.unknown

            at_best(lambda: takes_less(2, send))  # connected within 0.3 s, too

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
        [
            (None, 1),
            (b"h", 1),
            ("a b", 1),
            ("", 1),
            ("x\r\nEvil: y", 1),
            ("a..b", 1),
            ("h", 0),
            ("h", 65536),
            ("h", "1"),
            ("h", 1, "a-b"),
        ],
    )
    def test_bad_addresses(self, arguments: Any) -> None:
        with pytest.raises(InvalidArgument):
            Realplexor(*arguments)

    @pytest.mark.parametrize("host", ["127.0.0.1:10010", "localhost:10010", "[::1]", "[::1]:10010"])
    def test_a_port_in_the_host(self, host: str) -> None:
        with pytest.raises(
            InvalidArgument, match=r"the port is an argument of its own, as in \(\"127\.0\.0\.1\", 10010\)"
        ):
            Realplexor(host)

    @pytest.mark.parametrize(
        "options",
        [
            {"timeout": 0},
            {"login": "a b"},
            {"login": b"a"},
            {"login": "a\r\nEvil: y"},
            {"login": "a", "password": "x@y"},
            {"login": "a", "password": b"x"},
            {"login": "a", "password": "x\r\nEvil: y"},
            {"login": "a", "password": "x\x00"},
            {"login": "a", "password": "x\ud800"},
            {"namespace": "n\r\nEvil: y"},
            {"namespace": b"n_"},
            {"namespace": False},
            {"identifier": "identifier\r\nEvil: y"},
            {"identifier": "identifier\n"},
            {"identifier": "a="},
            {"identifier": ""},
            {"identifier": None},
        ],
    )
    def test_bad_options(self, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument):
            Realplexor("h", 1, **options)


@pytest.mark.parametrize(("answer", "text"), BROKEN)
def test_broken_answers(answer: bytes, text: str) -> None:
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


@pytest.mark.parametrize("answer", [answer for answer, _ in BROKEN])
@pytest.mark.usefixtures("each_client")
def test_broken_answers_are_noticed_at_once(answer: bytes) -> None:
    def broken(connection: StubConnection, number: int) -> None:
        connection.read()
        connection.write(answer + b"\r\n")  # httpx looks at heads that are whole
        connection.read()

    with (
        StubServer(broken) as server,
        Realplexor(*server.address, timeout=PATIENCE) as client,
        pytest.raises(BrokenResponse),
    ):
        client.online()


def test_every_error_is_of_one_tree() -> None:
    for kind in (InvalidArgument, Refused, NotStored, ConnectionFailed, ConnectionLost, Timeout, BrokenResponse):
        assert issubclass(kind, RealplexorError)


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer() as live:
        yield live


def test_after_a_fork(server: LiveServer) -> None:
    """The child opens a connection of its own; the parent's stays whole."""
    client = Realplexor(*server.in_)
    client.send("fork", "parent")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            client.send("fork", "child")
            status = 0
        finally:
            os._exit(status)
    for number in range(20):
        assert list(client.send("fork", number)) == ["fork"]
    assert os.waitpid(child, 0)[1] == 0


GEVENT_PROGRAM = """
from rplx.client import Realplexor
from gevent import monkey
monkey.patch_all()
import gevent, sys
host, port, url = sys.argv[1], int(sys.argv[2]), sys.argv[3]
client = Realplexor(host, port)
ticks = []

def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)

gevent.spawn(tick)
listener = client.listen("g", url)
received = gevent.spawn(lambda: [next(listener).data for _ in range(200)])
while len(ticks) < 20:  # the listener waits; the others run
    gevent.sleep(0.01)
senders = [gevent.spawn(lambda: [client.send("g", number) for number in range(10)]) for _ in range(20)]
gevent.joinall(senders, raise_error=True)
assert sorted(received.get(timeout=120)) == sorted(list(range(10)) * 20)
"""


def test_under_gevent(server: LiveServer) -> None:
    """Patched after the client was imported, too: a waiting listener and twenty senders share one thread."""
    host, port = server.in_
    done = subprocess.run(
        [sys.executable, "-c", GEVENT_PROGRAM, host, str(port), "http://{}:{}/".format(*server.wait)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
