"""Who may listen, on the wire (protocol page, part 12)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rplx.client import grants
from tests.lines.sockets import Socket
from tests.lines.test_streams import Stream
from tests.lines.wire import Conversation, Wire, http, settings
from tests.live import LiveServer
from tests.waiting import at_best

KEY = "0123456789abcdef0123456789abcdef"
CONFIG = """\
[grants]
cookie = "grant"

[wait]
allowed_origins = ["https://page.example"]

[[channels]]
prefix = "u_"
access = "grant"
"""
ACCEPT = "Accept: text/event-stream"


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder = tmp_path_factory.mktemp("grants")
    (folder / "rplx.toml").write_text(CONFIG)
    (folder / "key").write_text(KEY)
    options = settings(f"grants.keys=a=file:{folder}/key")
    with LiveServer("--config", str(folder / "rplx.toml"), *options) as server:
        yield Wire(server)
        log = "\n".join(server.log)
        assert "Traceback" not in log
        assert "Error:" not in log
        assert "eyJ" not in log, "a grant stands in the log"


def grant(*channels: str, ends: float = 600.0) -> str:
    """A grant that ends so many seconds from now."""
    return grants.grant("42", channels, seconds=1000, key=KEY, kid="a", now=time.time() + ends - 1000)


def asked(wire: Wire, target: str, *lines: str, body: bytes = b"") -> Conversation:
    method = "POST" if body else "GET"
    return wire.on_wait(http("\n".join([f"{method} {target} HTTP/1.1\nHost: h", *lines]), body))


def header(head: bytes, name: str) -> str | None:
    found = [line.partition(": ")[2] for line in head.decode().split("\r\n") if line.startswith(f"{name}: ")]
    return found[0] if found else None


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def test_a_channel_that_needs_a_grant(wire: Wire, prefix: str) -> None:
    wire.send(f"1:u_{prefix}", "1")
    head, body = asked(wire, f"/?identifier=0:u_{prefix}").answer()
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert header(head, "X-Realplexor-Refused") == f"u_{prefix}"
    assert body == b"none of these channels may be listened to without a grant for it\n"
    head, body = asked(wire, f"/?identifier=0:u_{prefix}", bearer(grant(f"u_{prefix}"))).answer()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert header(head, "X-Realplexor-Grant-TTL") in ("598", "599")
    assert b'"data": 1' in body


def test_what_is_refused_is_named_and_the_rest_served(wire: Wire, prefix: str) -> None:
    wire.send(f"1:{prefix},1:u_{prefix}", "1")
    for lines, refused in (((), f"u_{prefix},u_x"), ((bearer(grant("u_t*")),), "u_x")):
        head, body = asked(wire, f"/?identifier=0:{prefix},0:u_{prefix},0:u_x", *lines).answer()
        assert header(head, "X-Realplexor-Refused") == refused
        assert (f'"u_{prefix}": "1"'.encode() in body) is bool(lines)
        assert f'"{prefix}": "1"'.encode() in body


def test_where_a_grant_may_stand(wire: Wire, prefix: str) -> None:
    wire.send(f"1:u_{prefix}", "1")
    list_, token = f"identifier=0:u_{prefix}", grant("u_*")
    for target, lines, body in (
        (f"/?{list_}", (f"authorization: bEARER {token}",), b""),
        (f"/?{list_}", (f"Cookie: a=b; grant={token}; c=d",), b""),
        ("/", (), f"{list_}\ngrant={token}\n".encode()),
        (f"/?{list_}", (), f"grant={token}".encode()),
        (f"/?{list_}", (bearer(token), "Cookie: grant=lapsed"), b""),
    ):
        head, _ = asked(wire, target, *lines, body=body).answer()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), (target, lines)
    for lines in ((), ("Authorization: Basic YTpi",), (f"X-Cookie: grant={token}",), (f"Cookie: xgrant={token}",)):
        head, _ = asked(wire, f"/?{list_}&grant={token}", *lines).answer()
        assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n"), lines


@pytest.mark.parametrize("transport", ["poll", "stream"])
@pytest.mark.parametrize("place", ["header", "cookie", "body"])
def test_who_brings_a_bad_grant_is_no_guest(wire: Wire, prefix: str, place: str, transport: str) -> None:
    wire.send(f"1:{prefix}", "1")
    for bad in (grant("*", ends=-6), grant("*")[:-4], "x", ""):
        lines = {"header": [bearer(bad)], "cookie": [f"Cookie: grant={bad}"], "body": []}[place]
        body = f"identifier=0:{prefix}\ngrant={bad}\n".encode() if place == "body" else b""
        target = "/" if body else f"/?identifier=0:{prefix}"
        lines += [ACCEPT] if transport == "stream" else []
        head, text = asked(wire, target, *lines, "Origin: https://page.example", body=body).answer()
        assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        assert header(head, "WWW-Authenticate") == 'Bearer error="invalid_token"'
        assert float(header(head, "X-Realplexor-Cursor") or 0) > 1e9
        assert "X-Realplexor-Grant-TTL" in (header(head, "Access-Control-Expose-Headers") or "")
        assert text.startswith(b"this grant does not hold: ")


def test_a_preflight_allows_the_header(wire: Wire) -> None:
    lines = "OPTIONS / HTTP/1.1\nHost: h\nOrigin: https://page.example\nAccess-Control-Request-Method: GET"
    head = wire.on_wait(http(lines)).until(b"\r\n\r\n")
    assert "Authorization" in (header(head, "Access-Control-Allow-Headers") or "")


def test_a_poll_ends_with_its_grant_and_the_next_is_refused(wire: Wire, prefix: str) -> None:
    token = grant("u_*", ends=2.5)
    head, body = asked(wire, f"/?identifier=u_{prefix}", bearer(token)).answer()
    assert (header(head, "X-Realplexor-Grant-TTL") or "9") <= "2"
    assert body == b" \r\n"


def test_answers_that_are_shared_have_each_their_own_headers(wire: Wire, prefix: str) -> None:
    polls = [
        asked(wire, f"/?identifier={prefix},u_x", *lines)
        for lines in ((), (bearer(grant("u_*", ends=500)),), (), (bearer(grant("u_*", ends=700)),))
    ]
    assert all(poll.waits() for poll in polls)
    wire.send(prefix, "1")
    heads = [poll.answer()[0] for poll in polls]
    assert [header(head, "X-Realplexor-Refused") for head in heads] == ["u_x", None, "u_x", None]
    assert [(header(head, "X-Realplexor-Grant-TTL") or "")[:1] for head in heads] == ["", "4", "", "6"]


def test_a_stream_is_told_of_the_end_of_its_grant(wire: Wire, prefix: str) -> None:
    token = grant(f"u_{prefix}", ends=3.0)
    conversation = asked(wire, f"/?identifier=u_{prefix},u_x,{prefix}", bearer(token), ACCEPT)
    head = conversation.until(b"\r\n\r\n")
    assert header(head, "X-Realplexor-Refused") == "u_x"
    stream = Stream.__new__(Stream)
    stream.conversation, stream.chunked = conversation, True
    stream.opened()
    told = stream.event()
    assert (told.name, told.data) == ("refused", '{"ids":["u_x"]}')
    expires = stream.event()
    assert expires.name == "expires"
    assert 1 <= json.loads(expires.data)["in"] <= 3
    wire.send(f"u_{prefix}", "7")
    assert [stream.event().name, stream.event().name] == ["message", "bye"]
    assert conversation.rest() == b"0\r\n\r\n"


def test_a_socket_takes_grants_at_any_time(wire: Wire, prefix: str) -> None:
    at_best(lambda: takes_grants(wire, prefix))


def takes_grants(wire: Wire, prefix: str) -> None:
    """The second grant comes before the end of the first."""
    socket = Socket(wire, opens=False)
    socket.say({"listen": {prefix: None, f"u_{prefix}": None}})
    socket.open()
    assert socket.heard() == {"refused": [f"u_{prefix}"]}
    socket.say({"listen": {f"u_{prefix}": None}, "grant": grant("u_*", ends=3)})
    socket.open()
    assert "expires" in socket.heard()
    socket.say({"grant": grant(f"u_{prefix}")})  # renewed in place
    time.sleep(3.5)
    wire.send(f"u_{prefix}", "1")
    assert socket.message() == 1
    socket.say({"grant": grant("else")})
    assert socket.heard() == {"refused": [f"u_{prefix}"]}
    wire.send(f"u_{prefix}", "2")
    wire.send(prefix, "3")
    assert socket.message() == 3


def test_a_socket_ends_with_its_grant(wire: Wire, prefix: str) -> None:
    socket = Socket(wire, f"u_{prefix}", bearer(grant("u_*", ends=1)))
    assert "expires" in socket.heard()
    code, reason = socket.closed()
    assert (code, reason["code"]) == (4109, "grant_ended")


@pytest.mark.parametrize("place", ["cookie", "header", "frame"])
def test_a_socket_with_a_bad_grant_is_closed(wire: Wire, prefix: str, place: str) -> None:
    bad = grant("*", ends=-6)
    lines = {"cookie": [f"Cookie: grant={bad}"], "header": [bearer(bad)], "frame": []}[place]
    socket = Socket(wire, prefix, *lines, opens=not lines)
    if not lines:
        socket.say({"grant": bad})
    code, reason = socket.closed()
    assert (code, reason["code"]) == (4001, "invalid_grant")


def test_old_clients_are_guests(wire: Wire, prefix: str) -> None:
    wire.send(f"1:{prefix},1:u_{prefix}", "1")
    assert b'"ids": { "%b": "1" }' % prefix.encode() in wire.poll(f"0:{prefix},0:u_{prefix}")


def test_without_rules_nothing_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    with LiveServer(*settings(f"grants.keys=a=file:{tmp_path}/key")) as server:
        wire = Wire(server)
        wire.send("1:u_1", "1")
        for lines in ((), (bearer("lapsed"),), (bearer(grant("x")),)):
            head, _ = asked(wire, "/?identifier=0:u_1", *lines).answer()
            assert b"Grant" not in head
            assert b"Refused" not in head
