"""The Python client against the real server."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from rplx.client import (
    ConnectionFailed,
    Dklab_Realplexor,
    Dklab_Realplexor_Exception,
    InvalidArgument,
    Listener,
    Message,
    Realplexor,
    Refused,
    SendManyError,
)
from tests.clients.stub import StubConnection, StubServer
from tests.live import LiveServer
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("each_client")

HISTORY = ("--set", "history.max_messages=3000")


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer(*HISTORY, "--set", "presence.offline_timeout=0.2") as live:
        yield live


@pytest.fixture
def client(server: LiveServer) -> Iterator[Realplexor]:
    with Realplexor(*server.in_) as made:
        yield made


def url(server: LiveServer) -> str:
    return "http://{}:{}/".format(*server.wait)


def test_ids_with_dots_and_dashes(server: LiveServer) -> None:
    ids = ["0b5f2d3e-9c1a-4f7e-8d21-1f0a6c3b9e55", "private-room-7", "user.7"]
    with (
        Realplexor(*server.in_, namespace="ids_") as client,
        client.listen([*ids, "user-8"], url(server)) as listener,
    ):
        start = client.watch()[0].pos
        assert list(client.send([*ids, "room"], 1, limit_to="user-8")) == [*ids, "room"]
        assert sorted(next(listener).ids) == ids
        client.send("private-room", 2)
        client.send("private-room-7", 3)
        assert next(listener).data == 3
        assert set(client.online("private-")) <= {"private-room-7"}
        assert {event.id for event in client.watch(start)} <= {*ids, "user-8", "FAKE"}
    old = Dklab_Realplexor(*server.in_, "ids_")
    assert set(old.cmdOnline()) <= {*ids, "user-8"}


def test_polls_end_when_they_ask_to_and_nothing_is_lost() -> None:
    def ends() -> int:
        return sum(bool(re.search(r"\btimeout$", line)) for line in server.log)

    with (
        LiveServer("--set", "log.connections=true") as server,
        Realplexor(*server.in_) as client,
        client.listen("polls", url(server), poll_seconds=1, transport="poll") as listener,
    ):
        got: list[Message] = []
        thread = threading.Thread(target=lambda: got.append(next(listener)))
        thread.start()
        eventually(lambda: ends() >= 2, True)
        client.send("polls", 1)
        thread.join(120)
        assert [message.data for message in got] == [1]


def new_namespace() -> str:
    return f"n{secrets.token_hex(4)}_"


def test_send_and_listen(server: LiveServer) -> None:
    """What is sent after `listen` returned arrives, though nothing waits yet; a message in two channels comes once."""
    client = Realplexor(*server.in_, new_namespace())
    with client.listen(["a1", "a2"], url(server)) as listener:
        receipt = client.send(["a1", "a2", "a3"], {"text": "привет", "list": [1, [2]]})
        own = client.send({"a1": "99999999999.50"}, None)
        assert next(listener) == ({"text": "привет", "list": [1, [2]]}, {id: receipt[id] for id in ("a1", "a2")})
        assert next(listener) == (None, {"a1": "99999999999.50"})
        assert own == {"a1": "99999999999.50"}
        assert listener.cursors == {"a1": "99999999999.50", "a2": receipt["a2"]}


def test_history_from_a_cursor(server: LiveServer, client: Realplexor) -> None:
    first, *_ = client.send_many([("h", number) for number in range(5)])
    with client.listen({"h": first["h"]}, url(server)) as listener:
        assert [next(listener).data for _ in range(4)] == [1, 2, 3, 4]


@pytest.mark.parametrize("id", ["SCRIPT", "IFRAME"])
def test_a_page_is_no_channel(server: LiveServer, client: Realplexor, id: str) -> None:
    with pytest.raises(InvalidArgument, match=f'"{id}" is not a channel of this server: as the first id'):
        client.listen(id, url(server))
    with client.listen(["a", id], url(server)) as listener:  # only in the first place
        client.send(id, "a message")
        assert next(listener).data == "a message"


def test_namespace(server: LiveServer) -> None:
    with Realplexor(*server.in_, "shop_") as shop, Realplexor(*server.in_) as plain:
        with shop.listen("n1", url(server)) as listener:
            assert list(shop.send("n1", 1)) == ["n1"]
            assert list(next(listener).ids) == ["n1"]
            assert "n1" in shop.online()
            assert "shop_n1" in plain.online("shop_")
        assert set(shop.stats()) >= {"data_to_send", "online_timers"}


def test_limited_messages(server: LiveServer, client: Realplexor) -> None:
    with client.listen(["l", "friend"], url(server)) as friend, client.listen("l", url(server)) as stranger:
        client.send("l", "secret", "friend")
        client.send("l", "open")
        assert [next(friend).data, next(friend).data] == ["secret", "open"]
        assert next(stranger).data == "open"


def test_nothing_is_lost_between_polls(server: LiveServer, client: Realplexor) -> None:
    """2,000 messages back to back, alternating over two channels, to a listener that had neither cursor."""
    with client.listen(["b0", "b1"], url(server)) as listener:
        sender = threading.Thread(target=lambda: client.send_many((f"b{number % 2}", number) for number in range(2000)))
        sender.start()
        received = [message.data for message in itertools.islice(listener, 2000)]
        sender.join()
    assert received == list(range(2000))


def test_send_many(client: Realplexor) -> None:
    receipts = client.send_many((["m1", "m2"], {"n": number}) for number in range(2000))
    cursors = [Decimal(receipt["m1"]) for receipt in receipts]
    assert len(receipts) == 2000
    assert all(a < b for a, b in itertools.pairwise(cursors))


def test_too_long_is_refused_clearly(client: Realplexor) -> None:
    with pytest.raises(Refused, match=r"^413 "):
        client.send("big", "x" * 1_000_000)
    with pytest.raises(SendManyError, match=r"^message 1: 413 ") as caught:
        client.send_many([("big", 1), ("big", "x" * 1_000_000), ("big", 3)])
    assert list(caught.value.receipts) == [0]
    assert client.send("big", 4).keys() == {"big"}


def test_online_watch_follow(server: LiveServer, client: Realplexor) -> None:
    start = client.watch()[0]
    assert start.event == "FAKE"
    following = client.follow(start.pos, ["w"], interval=0.02)
    with waiting(client, "w1", server), waiting(client, "w1", server):
        assert next(following)[::2] == ("online", "w1")
        eventually(lambda: client.online_with_counters("w") == {"w1": 2})
        assert client.online("w") == ["w1"]
        assert client.online("nobody") == []
    assert next(following)[::2] == ("offline", "w1")
    assert client.online_with_counters("w") == {}


class waiting:
    """A listener that waits in a thread."""

    def __init__(self, client: Realplexor, channels: str, server: LiveServer) -> None:
        self.listener: Listener = client.listen(channels, url(server))
        self.received: list[Message] = []
        self.thread = threading.Thread(target=lambda: self.received.extend(self.listener))

    def __enter__(self) -> waiting:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self.thread.join(120)
        assert not self.thread.is_alive()


def test_idle_connections_are_replaced() -> None:
    """The server closes them after in.timeout; nothing is sent twice and nothing fails."""
    options = ("--set", "in.timeout=1", "--set", "log.connections=true")
    with LiveServer(*options) as server, Realplexor(*server.in_) as client:
        for number in range(4):
            client.send("abc", number)
            eventually(lambda number=number: sum("connection closed" in line for line in server.log) > number)  # type: ignore[misc]
        assert client.stats()["data_to_send"]["abc"].count("[") == 4


def test_listener_and_follower_survive_a_restart() -> None:
    quick = ("--set", "server.drain=0.2")
    with LiveServer(*quick) as server:
        addresses = ("--wait", "{}:{}".format(*server.wait), "--in", "{}:{}".format(*server.in_))
        client = Realplexor(*server.in_)
        following = client.follow(client.watch()[0].pos, interval=0.05)
        followed: list[tuple[str, str]] = []

        def follow() -> None:
            for event in following:
                followed.append((event.event, event.id))
                if event.id == "end":
                    return

        follower = threading.Thread(target=follow)
        follower.start()
        with waiting(client, "r", server) as waiter:
            eventually(lambda: client.online_with_counters("r") == {"r": 1})
            client.send("r", "before")
            eventually(lambda: len(waiter.received) == 1)
            eventually(lambda: ("online", "r") in followed)
            for number in range(3):  # positions that the restarted server has not
                with waiting(client, f"x{number}", server):
                    eventually(lambda number=number: f"x{number}" in [id for _, id in followed])  # type: ignore[misc]
            server.stop(signal.SIGTERM)
            with LiveServer(*addresses, *quick, addresses=False) as again:
                eventually(lambda: client.online_with_counters("r") == {"r": 1})
                client.send("r", "after")
                eventually(lambda: len(waiter.received) == 2)
                with waiting(client, "end", again):
                    follower.join(120)
        assert [message.data for message in waiter.received] == ["before", "after"]
        assert followed[-3:] == [("restart", ""), ("online", "r"), ("online", "end")]


def test_logins(tmp_path: Path) -> None:
    users = tmp_path / "users"
    digest = base64.b64encode(hashlib.sha1(b"geheim").digest()).decode()
    users.write_text(f"dk:{{SHA}}{digest}\n")
    with LiveServer("--set", f"users.file={users}") as server:
        client = Realplexor(*server.in_, "n_", login="dk", password="geheim")
        with client.listen("abc", url(server)) as listener:
            assert list(client.send("abc", 1)) == ["abc"]
            assert next(listener).data == 1
            assert client.online() == ["abc"]
            assert client.stats() == {}
        for options, text in (
            ({"login": "dk", "password": "wrong"}, "403 Access Deined: invalid password for login: dk"),
            ({"login": "nobody", "password": "x"}, "403 Access Deined: unknown login: nobody"),
            ({}, "403 Access Deined: access denied for guest user"),
        ):
            with Realplexor(*server.in_, **options) as refused, pytest.raises(Refused) as caught:  # type: ignore[arg-type]
                refused.send("abc", 1)
            assert str(caught.value) == text
        old = Dklab_Realplexor(*server.in_, "n_")
        old.logon("dk", "wrong")
        with pytest.raises(Dklab_Realplexor_Exception) as old_caught:
            old.cmdOnline()
        assert str(old_caught.value) == "Request failed: 403 Access Deined\ninvalid password for login: dk\n"


def test_old_names(server: LiveServer) -> None:
    namespace = new_namespace()
    old = Dklab_Realplexor(*server.in_, namespace)
    position = old.cmdWatch(0)[0]
    assert position["event"] == "FAKE"
    with Realplexor(*server.in_, namespace).listen(["a", "b"], url(server)) as listener:
        old.send("a", {"k": "ж"})
        old.send(["a", "b"], [1])
        old.send({"b": "99999999999"}, 2, ["a"])
        assert [next(listener).data for _ in range(3)] == [{"k": "ж"}, [1], 2]
        assert old.cmdOnline(["a"]) == ["a"]
        assert set(old.cmdOnlineWithCounters()) == {"a", "b"}
    assert {event["id"] for event in old.cmdWatch(position["pos"])} == {"a", "b"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls(tmp_path: Path) -> None:
    """Certificates are checked unless the context says otherwise."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", *make.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def over_tls(connection: StubConnection, number: int) -> None:
        connection.socket = context.wrap_socket(connection.socket, server_side=True)
        connection.file = connection.socket.makefile("rb")
        for _ in range(3):
            connection.read()
            connection.answer("abc 1\n")

    with StubServer(over_tls) as server:
        port = server.address[1]
        with pytest.raises(ConnectionFailed, match=r"(?i)certificate.verify.failed"):
            Realplexor("localhost", port, tls=True).send("abc", 1)
        trusting = ssl.create_default_context(cafile=str(certificate))
        with Realplexor("localhost", port, tls=trusting) as client:
            for number in range(6):
                assert client.send("abc", 1) == {"abc": "1"}
                if number % 3 == 2:
                    eventually(lambda: server.connections[-1].closed)
        assert len([connection for connection in server.connections if connection.requests]) == 2
