"""The Python listener with grants (protocol page, part 12), against a scripted server: whom it asks, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

import rplx
from rplx.client import ConnectionFailed, InvalidArgument, Listener, Realplexor, Refused, granting, retrying
from rplx.client.granting import Grants, Source
from tests.clients.stub import StubConnection, StubServer
from tests.clients.test_python_streams import OPEN, chunked, event, poll

pytestmark = pytest.mark.usefixtures("each_client")

KEY = "0123456789abcdef0123456789abcdef"
NO = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 8\r\nX-Realplexor-Cursor: 100\r\n"
NO += b'WWW-Authenticate: Bearer error="invalid_token"\r\nConnection: close\r\n\r\nexpired\n'
POSITION = "X-Realplexor-Cursor: 100\r\nX-Realplexor-Grant-TTL: 600\r\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(granting, "AGAIN_AFTER", 0.05)


def token_of(request: bytes) -> str:
    for line in request.decode().split("\r\n"):
        if line.startswith("Authorization: Bearer "):
            return line.removeprefix("Authorization: Bearer ")
    return ""


def asked(*tokens: Any) -> Callable[[], str | None]:
    """A source that gives these in turn, the last for ever, and raises those that are errors."""
    left = list(tokens)

    def source() -> str | None:
        given = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(given, Exception):
            raise given
        return given  # type: ignore[no-any-return]

    return source


def serving(*answers: bytes) -> StubServer:
    """Answers one connection after another, and keeps the streams and the last open until the client leaves."""

    def serve(connection: StubConnection, number: int) -> None:
        connection.read()
        if number < len(answers):
            connection.write(answers[number])
        if number >= len(answers) - 1 or b"event-stream" in answers[number]:
            connection.read()

    return StubServer(serve)


def listening(server: StubServer, grant: Source, transport: str = "auto", **more: Any) -> Listener:
    return Realplexor(namespace="n_").listen(["a", "b"], server.url, grant=grant, transport=transport, **more)


def tokens(server: StubServer) -> list[str]:
    return [token_of(request) for request in server.requests]


def test_polls_bring_the_grant_and_tell_what_it_does_not_open() -> None:
    refused: list[list[str]] = []
    headers = POSITION + "X-Realplexor-Refused: n_b\r\n"
    with serving(poll("", headers), poll("101", headers.replace("n_b", "*")), poll("102"), b"") as server:
        with listening(server, "one", "poll", on_refused=refused.append) as listener:
            assert refused == [["b"]]
            assert next(listener).data == 101
            assert next(listener).data == 102
        assert refused == [["b"], ["a"]]
        assert tokens(server)[:3] == ["one"] * 3


def test_a_stream_goes_over_to_the_next_grant_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    expires = b'event: expires\ndata: {"in":0.2}\n\n'
    refused = b'event: refused\ndata: {"ids":["n_b"]}\n\n'
    told: list[list[str]] = []
    first = chunked(OPEN, refused, event("101:*", "1", n_a="101"), expires)
    with serving(first, chunked(OPEN, event("102:*", "2", n_a="102"))) as server:
        with listening(server, asked("one", "two"), on_refused=told.append) as listener:
            assert [next(listener).data, next(listener).data] == [1, 2]
        assert tokens(server) == ["one", "two"]
        assert b"identifier=101:n_a,101:n_b&stream" in server.requests[1]
        assert told == [["b"]]


def test_a_grant_that_has_ended_is_asked_for_once_more() -> None:
    with serving(NO, poll("", POSITION), NO, poll("101"), b"") as server:
        with listening(server, asked("one", "two", "three"), "poll") as listener:
            assert next(listener).data == 101
        assert tokens(server)[:4] == ["one", "two", "two", "three"]
    with serving(NO, chunked(OPEN, event("101:*", "1", n_a="101"))) as server:
        with listening(server, asked("one", "two")) as listener:
            assert next(listener).data == 1
        assert tokens(server) == ["one", "two"]


@pytest.mark.parametrize("transport", ["auto", "poll"])
@pytest.mark.parametrize(("given", "requests"), [(["one", "two", "three"], 2), (["one", None], 1), ("one", 1)])
def test_a_listener_ends_whose_grant_is_not_taken(given: Any, requests: int, transport: str) -> None:
    source = given if isinstance(given, str) else asked(*given)
    with serving(NO, NO, NO, b"") as server:
        with pytest.raises(Refused) as caught:
            listening(server, source, transport)
        assert caught.value.status == 401
        assert tokens(server) == ["one", "two"][:requests]


def test_a_grant_that_cannot_be_had() -> None:
    with serving(b"") as server:
        with pytest.raises(Refused, match="401 Unauthorized: there is no grant any more"):
            listening(server, asked(""))
        with pytest.raises(ConnectionFailed, match="no grant: it is away"):
            listening(server, asked(ConnectionError("it is away")))
        with pytest.raises(ZeroDivisionError):
            listening(server, asked(ZeroDivisionError()))
        with pytest.raises(InvalidArgument, match="must be a text without white space, not int"):
            listening(server, asked(5))
        with pytest.raises(InvalidArgument, match="must be a text without white space"):
            listening(server, "a\r\nb")
        assert server.requests == []


def test_what_is_away_when_a_listener_needs_a_grant_is_asked_again() -> None:
    away = OSError("away")
    with serving(poll("", POSITION), NO, poll("101"), b"") as server:
        with listening(server, asked("one", away, away, "two"), "poll") as listener:
            assert next(listener).data == 101
        assert tokens(server)[:3] == ["one", "one", "two"]


def test_a_listener_without_a_grant_brings_none_and_tells_refusals() -> None:
    refused: list[list[str]] = []
    with serving(poll("", POSITION + "X-Realplexor-Refused: b\r\n"), b"") as server:
        with Realplexor().listen(["a", "b"], server.url, transport="poll", on_refused=refused.append):
            assert refused == [["b"]]
        assert tokens(server)[0] == ""


class TestGrants:
    """When another grant is asked for. The clock is that of the process, far from the times that are asked about."""

    def test_between_10_and_25_s_before_the_end(self) -> None:
        grants = Grants(asked("one"))
        due = []
        for _ in range(500):
            grants.ends_in(600, now=1000)
            due.append(1600 - (1000 + grants.until_due(now=1000)))
        assert 10 <= min(due) < 12
        assert 23 < max(due) <= 25

    def test_half_way_where_it_is_short(self) -> None:
        grants = Grants(asked("one"))
        grants.ends_in(5, now=1000)
        assert grants.until_due(now=1000) == 2.5
        assert grants.until_due(now=1002.5) == grants.until_due(now=2000) == 0

    @pytest.mark.parametrize(
        ("token", "is_known"),
        [
            (rplx.grant("a", "a", key=KEY, seconds=100), True),
            (jwt.encode({"exp": time.time() + 100}, KEY, "HS256"), False),
            (jwt.encode({"exp": "x", "iat": 5}, KEY, "HS256"), False),
            ("opaque", False),
        ],
    )
    def test_what_a_grant_says_itself(self, token: str, is_known: bool) -> None:
        grants = Grants(lambda: token)
        with pytest.raises(StopIteration):
            grants.renewed().send(None)
        assert (grants.until_due() < 100) is is_known
        assert grants.headers == (("Authorization", f"Bearer {token}"),)
