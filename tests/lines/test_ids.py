"""Ids over HTTP (protocol page, 9.8): with dots and dashes, never cut; in plain text they are what they always were."""

from __future__ import annotations

import re

import pytest

from tests.lines.wire import Wire, blocks, http, settings

OPTIONS = settings(
    "log.connections=true",
)

UUID = "0b5f2d3e-9c1a-4f7e-8d21-1f0a6c3b9e55"
POLL = "HTTP/1.1\nHost: h\nConnection: close"


def poll(wire: Wire, items: str) -> bytes:
    """What is due now to a poll over HTTP, without the head."""
    whole = wire.on_wait(http(f"GET /?identifier={items}&position {POLL}")).rest()
    head, _, body = whole.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), whole
    return body.removeprefix(b" \r\n")


def send(wire: Wire, items: str, body: bytes = b"1") -> bytes:
    """The answer to a send with the marker in its header: a receipt or a refusal."""
    return wire.on_in(http(f"POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier={items}", body)).answer()[1]


@pytest.mark.parametrize("id", [UUID, "user.7", "private-room-7", "7.5", "a-", "a..b--c"])
def test_an_id_goes_both_ways_whole(wire: Wire, prefix: str, id: str) -> None:
    id = prefix + id
    assert send(wire, f"5:{id}") == f"{id} 5\n".encode()
    expected = blocks(({id: "5"}, "1"))
    assert poll(wire, f"1:{id}") == expected
    listening = (http(f"POST /?json {POLL}", f"identifier=1:{id}\n".encode()), f"GET /?identifier=1%3A{id} {POLL}")
    for request in (listening[0], http(listening[1])):
        assert wire.on_wait(request).rest().endswith(b"\r\n\r\n \r\n" + expected)


@pytest.mark.parametrize(
    "request_",
    [
        http("POST /?identifier=5:~a-b HTTP/1.1\nHost: h", b"1"),
        http("POST / HTTP/1.1\nHost: h", b"identifier=5:~a-b\n\n1"),
        http("PUT /?identifier=5:~a-b HTTP/1.1\nHost: h\nContent-Length: 1") + b"1",
        http("POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier=5:~a-b", length=False) + b"1",
    ],
)
def test_wherever_a_send_names_them(wire: Wire, request_: bytes) -> None:
    request_ = request_.replace(b"~", b"x")  # as long as what it stands for
    assert wire.on_in(request_, end=True).rest().endswith(b"\r\n\r\nxa-b 5\n")


def test_no_channel_hears_what_is_sent_to_another(wire: Wire, prefix: str) -> None:
    """`room-1` was once cut to `room`, so that `room-2` heard it too."""
    send(wire, f"5:{prefix}room-1")
    assert poll(wire, f"1:{prefix}room-2,1:{prefix}room") == b""
    assert wire.poll(f"1:{prefix}room") == b""


def test_limiters(wire: Wire, prefix: str) -> None:
    send(wire, f"5:{prefix}a.1,*{prefix}user-7,*{prefix}user.8")
    assert poll(wire, f"1:{prefix}a.1") == poll(wire, f"1:{prefix}a.1,{prefix}user-8") == b""
    for limiter in ("user-7", "user.8"):
        assert poll(wire, f"1:{prefix}a.1,*{prefix}{limiter}") == blocks(({f"{prefix}a.1": "5"}, "1"))


def test_a_listener_that_writes_by_hand_is_not_cut_where_its_bytes_are(wire: Wire, prefix: str) -> None:
    send(wire, f"5:{prefix}a-b")
    listener = wire.on_wait(b"POST / HTTP/1.0\r\n\r\nidentifier=1:%ba" % prefix.encode())
    assert listener.waits()
    listener.send(b"-")
    assert listener.waits()
    listener.send(b"b\n")
    assert listener.rest().endswith(blocks(({f"{prefix}a-b": "5"}, "1")))


@pytest.mark.parametrize("items", ["room/1", "a,room%201", "-room", "room+1", "a@b", "%D0%B6", "a!"])
def test_what_is_no_id_is_refused_by_its_name_and_never_cut(wire: Wire, prefix: str, items: str) -> None:
    named = f'"{items.rpartition(",")[2]}" is no channel id'
    for where in (
        http(f"POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier={items}", b"1"),
        http(f"POST /?identifier={items} HTTP/1.1\nHost: h", b"1"),
        http("POST / HTTP/1.1\nHost: h", f"identifier={items}\n\n1".encode()),
    ):
        head, text = wire.on_in(where).answer()
        assert head.split(b" ")[1] == b"400"
        assert text.decode().startswith(named)
    for where in (
        http(f"GET /?identifier={items}&timeout=1 HTTP/1.1\nHost: h"),
        http("POST / HTTP/1.1\nHost: h", f"identifier={items}\n".encode()),
    ):
        head, text = wire.on_wait(where).answer()
        assert head.split(b" ")[1] == b"400"
        assert text.decode().startswith(named)


def test_plain_text_has_the_old_ids(wire: Wire, prefix: str) -> None:
    wire.send(f"5:{prefix}a-b,5:{prefix}c", "1")
    assert wire.poll(f"1:{prefix}a") == blocks(({f"{prefix}a": "5"}, "1"))
    assert poll(wire, f"1:{prefix}a-b,1:{prefix}c") == b""
    wire.send(f"5:{prefix}a.b,5:{prefix}c", "2")
    assert wire.poll(f"1:{prefix}c") == blocks(({f"{prefix}c": "5"}, "2"))


@pytest.mark.parametrize(
    "target",
    [
        "/?identifier=1:~a&ncrnd=1",
        "/?identifier=1:~a&",
        "/?identifier=1%3a~a%2c1:~b",
        "/?1234?identifier=1:~a",
        "/?identifier=1:~a;x",
        "/?identifier=1:~a%20",
        "/?identifier=-5:~b,1:~a,,x:~c",
    ],
)
def test_what_old_pages_send_is_answered_as_ever(wire: Wire, prefix: str, target: str) -> None:
    wire.send(f"5:{prefix}a", "1")
    request = http(f"GET {target.replace('~', prefix)} {POLL}")
    assert wire.on_wait(request).rest().endswith(blocks(({f"{prefix}a": "5"}, "1")))


def test_those_who_ask_who_is_there(wire: Wire, prefix: str) -> None:
    ids = [f"{prefix}{id}" for id in ("a-1", "a-2", "a.1", "a_1", UUID)]
    start = wire.command("WATCH\n\n").split(" ")[1].split(":")[0]
    listener = wire.on_wait(http(f"GET /?identifier={','.join(ids)} HTTP/1.1\nHost: h"))
    wire.server.wait_for(rf":{prefix}a-1,\(and 4 more\)\] registered")
    asked = http("POST / HTTP/1.0\nX-Realplexor: identifier=", f"ONLINE {prefix}a-".encode())
    assert wire.on_in(asked).rest().endswith(f"\r\n\r\n{prefix}a-1 1\n{prefix}a-2 1\n".encode())
    assert wire.online(f"{prefix}a.") == f"{prefix}a.1 1\n"
    events = wire.command(f"WATCH {start} {prefix}\n\n").splitlines()
    assert sorted(re.sub(r" \d+:", " ", event) for event in events) == sorted(f"online {id}" for id in ids)
    send(wire, f"7:{ids[0]},*{prefix}b-1,*{prefix}b.2")
    wire.server.wait_for(rf"parsed IDs; limiters are \({prefix}b-1, {prefix}b\.2\)")
    wire.server.wait_for(rf"added data for \[{prefix}a-1\]")
    assert f"{ids[0]} => [7: 1b, limited by ({prefix}b-1, {prefix}b.2)]\n" in wire.command("STATS\n\n")
    listener.close()
