"""The Python client asks who is online, watches and follows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from rplx.client import (
    ConnectionFailed,
    Event,
    InvalidArgument,
    Realplexor,
    Refused,
)
from tests.clients.stub import StubConnection, StubServer, answering, body, marker

pytestmark = pytest.mark.usefixtures("each_client")


class TestQuestions:
    @pytest.mark.parametrize(
        ("options", "prefixes", "sent"),
        [
            ({}, None, b"ONLINE\n"),
            ({}, "ab", b"ONLINE ab\n"),
            ({}, ["a", "b"], b"ONLINE a b\n"),
            ({}, [], b"ONLINE\n"),
            ({}, 7, b"ONLINE 7\n"),
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

    @pytest.mark.parametrize(
        ("prefixes", "shown"),
        [("a b", "a b"), (b"ab", "b'ab'"), (bytearray(b"a"), "bytearray(b'a')"), ([b"ab"], "b'ab'"), ([None], "None")],
    )
    def test_bad_prefix(self, prefixes: Any, shown: str) -> None:
        client = Realplexor()
        calls: list[Callable[[], object]] = [
            lambda: client.online(prefixes),
            lambda: client.watch(1, prefixes),
            lambda: next(client.follow(1, prefixes)),
        ]
        for call in calls:
            with pytest.raises(
                InvalidArgument, match=re.escape(f'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "{shown}" given')
            ):
                call()

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
        script = [
            "FAKE 20:FAKE\n",
            "online 21:abc\n",
            None,
            None,
            "FAKE 12:FAKE\n",
            "online 11:abc\noffline 12:def\n",
            "FAKE 40:FAKE\noffline 41:abc\n",
        ]
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
            assert [next(following) for _ in range(6)] == [
                ("online", "21", "abc"),
                ("restart", "1", ""),
                ("online", "11", "abc"),
                ("offline", "12", "def"),
                ("missed", "40", ""),
                ("offline", "41", "abc"),
            ]
        assert asked == [
            b"WATCH 0\n",
            b"WATCH 20\n",
            b"WATCH 21\n",
            b"WATCH 21\n",
            b"WATCH 21\n",
            b"WATCH 1\n",
            b"WATCH 12\n",
        ]

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
