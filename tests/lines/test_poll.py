"""The WAIT line, protocol page part 2: what is due, when it goes out, and how it looks."""

from __future__ import annotations

import pytest

from tests.lines.wire import CLOSED, Wire, blocks, http, own

# What was sent before: ids of a list and message. The request. The body behind the head.
Sent = list[tuple[str, str]]
HISTORY: list[tuple[str, Sent, str, bytes]] = [
    ("one message", [("20:~a", '"x"')], "10:~a", blocks(({"~a": "20"}, '"x"'))),
    ("the cursor's text as it came", [("0020.50:~a", "1")], "1:~a", blocks(({"~a": "0020.50"}, "1"))),
    ("only what is newer", [("20:~a", "1"), ("21:~a", "2")], "20:~a", blocks(({"~a": "21"}, "2"))),
    (
        "exact decimals",
        [("20.00000000000001:~a", "1"), ("20.00000000000003:~a", "2")],
        "20.00000000000002:~a",
        blocks(({"~a": "20.00000000000003"}, "2")),
    ),
    ("numbers, not texts", [("9:~a", "1"), ("10:~a", "2")], "9.5:~a", blocks(({"~a": "10"}, "2"))),
    (
        "the example of the page",
        [("20:~abc,30:~def", '"ccc"'), ("21.5:~abc", '{"a":\n 1}')],
        "1:~abc,1:~def",
        blocks(({"~abc": "20", "~def": "30"}, '"ccc"'), ({"~abc": "21.5"}, '{"a":\n 1}')),
    ),
    ("ids sorted", [("5:~b,5:~a", "1")], "1:~b,1:~a", blocks(({"~a": "5", "~b": "5"}, "1"))),
    ("only ids listened to", [("5:~a,6:~b", "1")], "1:~b", blocks(({"~b": "6"}, "1"))),
    ("only ids where it is newer", [("5:~a,6:~b", "1")], "5:~a,1:~b", blocks(({"~b": "6"}, "1"))),
    (
        "equal texts are two blocks",
        [("5:~a", "1"), ("6:~a", "1")],
        "1:~a",
        blocks(({"~a": "5"}, "1"), ({"~a": "6"}, "1")),
    ),
    (
        "equal cursors by the message's bytes",
        [("5:~a", '"b"'), ("5:~a", '"a"')],
        "1:~a",
        blocks(({"~a": "5"}, '"a"'), ({"~a": "5"}, '"b"')),
    ),
    (
        "by the smallest of several cursors",
        [("5:~a", "1"), ("9:~a,2:~b", "2")],
        "1:~a,1:~b",
        blocks(({"~a": "9", "~b": "2"}, "2"), ({"~a": "5"}, "1")),
    ),
    ("inserted out of order", [("9:~a", "1"), ("5:~a", "2")], "1:~a", blocks(({"~a": "5"}, "2"), ({"~a": "9"}, "1"))),
    ("limiters: seen", [("5:~a,*~l", "1")], "1:~a,~l", blocks(({"~a": "5"}, "1"))),
    ("limiters: the star changes nothing on WAIT", [("5:~a,*~l", "1")], "1:~a,*~l", blocks(({"~a": "5"}, "1"))),
    ("limiters: one of them is enough", [("5:~a,*~l,*~m", "1")], "1:~a,~m", blocks(({"~a": "5"}, "1"))),
    ("a starred id has a cursor of its own", [("5:~a", "1")], "*~a,1:~b,4:~a", blocks(({"~a": "5"}, "1"))),
    (
        "each id once, at the smaller cursor",
        [("5:~a", "1"), ("6:~a", "2")],
        "5:~a,4:~a",
        blocks(({"~a": "5"}, "1"), ({"~a": "6"}, "2")),
    ),
    (
        "the message as it came",
        [("5:~a", '{"b" :1,\t"a":"\\u00e9é"}')],
        "1:~a",
        blocks(({"~a": "5"}, '{"b" :1,\t"a":"\\u00e9é"}')),
    ),
    ("newlines kept", [("5:~a", '{\n"a":1\n}\n')], "1:~a", blocks(({"~a": "5"}, '{\n"a":1\n}\n'))),
    ("items of another form are dropped", [("5:~a", "1")], "x:~b,,4:~a,~c-d", blocks(({"~a": "5"}, "1"))),
]
NOTHING: list[tuple[str, Sent, str]] = [
    ("nothing there", [], "1:~a"),
    ("at the newest", [("20:~a", "1")], "20:~a"),
    ("at the newest, written otherwise", [("20:~a", "1")], "020.00:~a"),
    ("beyond the newest", [("20:~a", "1")], "21:~a"),
    ("without a cursor: from now on", [("20:~a", "1"), ("~a", "2")], "~a"),
    ("another channel", [("20:~a", "1")], "1:~b"),
    ("limited to others", [("20:~a,*~l", "1")], "1:~a,1:~b"),
    ("the limiter alone", [("20:~a,*~l", "1")], "1:~l"),
]


@pytest.mark.parametrize(("sent", "asked", "body"), [row[1:] for row in HISTORY], ids=[row[0] for row in HISTORY])
def test_history_is_sent_at_once(wire: Wire, prefix: str, sent: Sent, asked: str, body: bytes) -> None:
    for ids, message in sent:
        wire.send(ids.replace("~", prefix), message)
    listener = wire.on_wait(own(f"identifier={asked}\n".encode(), prefix))
    assert listener.rest() == CLOSED + own(body, prefix)


@pytest.mark.parametrize(("sent", "asked"), [row[1:] for row in NOTHING], ids=[row[0] for row in NOTHING])
def test_otherwise_it_waits(wire: Wire, prefix: str, sent: Sent, asked: str) -> None:
    for ids, message in sent:
        wire.send(ids.replace("~", prefix), message)
    listener = wire.listen(asked.replace("~", prefix))
    assert listener.waits()
    assert wire.poll(asked.replace("~", prefix)) == b""


# What waits, what is sent, what comes.
LIVE: list[tuple[str, str, str, str, bytes]] = [
    ("one channel", "1:~a", "5:~a", '"x"', blocks(({"~a": "5"}, '"x"'))),
    ("one of several", "1:~a,1:~b", "5:~b", "1", blocks(({"~b": "5"}, "1"))),
    (
        "in several of its channels: one block",
        "1:~b,1:~a,1:~c",
        "5:~a,6:~b,7:~d",
        "1",
        blocks(({"~a": "5", "~b": "6"}, "1")),
    ),
    ("limited to it", "1:~a,~l", "5:~a,*~l", "1", blocks(({"~a": "5"}, "1"))),
    ("newlines", "1:~a", "5:~a", "[1,\n2]", blocks(({"~a": "5"}, "[1,\n2]"))),
    ("newer in one of two", "9:~a,1:~b", "5:~a,6:~b", "1", blocks(({"~b": "6"}, "1"))),
]


@pytest.mark.parametrize(("waiting", "ids", "message", "body"), [row[1:] for row in LIVE], ids=[row[0] for row in LIVE])
def test_what_is_sent_comes_at_once(wire: Wire, prefix: str, waiting: str, ids: str, message: str, body: bytes) -> None:
    listeners = [wire.listen(waiting.replace("~", prefix)) for _ in range(3)]
    wire.send(ids.replace("~", prefix), message)
    for listener in listeners:
        assert listener.rest() == own(body, prefix)


@pytest.mark.parametrize(
    ("waiting", "ids"),
    [
        ("1:~a", "5:~b"),
        ("5:~a", "5:~a"),
        ("5:~a", "4.9:~a"),
        ("~a", "5:~a"),
        ("1:~a", "5:~a,*~l"),
        ("1:~l", "5:~a,*~l"),
    ],
)
def test_what_is_not_due_does_not_come(wire: Wire, prefix: str, waiting: str, ids: str) -> None:
    listener = wire.listen(waiting.replace("~", prefix))
    wire.send(ids.replace("~", prefix), "1")
    assert listener.waits()
    wire.send(f"99:{prefix}a,99:{prefix}l", '"due"') if not waiting.startswith("~") else wire.send(
        f"{prefix}a", '"due"'
    )
    assert listener.rest().endswith(b'"due"\n  }\n]')


def test_some_are_ahead_of_a_message_and_stay(wire: Wire, prefix: str) -> None:
    """Listeners of one set at different cursors: only those behind the message get it, the others wait on."""
    behind = [wire.listen(f"1:{prefix}a") for _ in range(2)]
    ahead = [wire.listen(f"10:{prefix}a") for _ in range(2)]
    wire.send(f"5:{prefix}a", '"old"')
    assert [listener.rest() for listener in behind] == [blocks(({f"{prefix}a": "5"}, '"old"'))] * 2
    assert all(listener.waits() for listener in ahead)
    assert wire.online(prefix) == f"{prefix}a 2\n"
    wire.send(f"11:{prefix}a", '"new"')
    assert [listener.rest() for listener in ahead] == [blocks(({f"{prefix}a": "11"}, '"new"'))] * 2


def test_the_head_goes_out_as_soon_as_the_list_is_complete(wire: Wire, prefix: str) -> None:
    listener = wire.on_wait(f"identifier=1:{prefix}a".encode())
    assert listener.waits()
    listener.send(b"bc")
    assert listener.waits()
    listener.send(b"\n")
    assert listener.exactly(len(CLOSED)) == CLOSED
    wire.send(f"5:{prefix}a", '"cut"')
    assert listener.waits()
    wire.send(f"5:{prefix}abc", '"whole"')
    assert listener.rest() == blocks(({f"{prefix}abc": "5"}, '"whole"'))


def test_byte_by_byte(wire: Wire, prefix: str) -> None:
    wire.send(f"5:{prefix}a", "1")
    for request in (f"identifier=1:{prefix}a\n", f"GET /?identifier=1:{prefix}a HTTP/1.0\r\nHost: h\r\n\r\n"):
        listener = wire.on_wait()
        for byte in request.encode():
            listener.send(bytes([byte]))
        assert listener.rest().endswith(b"\r\n\r\n \r\n" + blocks(({f"{prefix}a": "5"}, "1")))


def test_whatever_else_it_sends_is_ignored(wire: Wire, prefix: str) -> None:
    listener = wire.listen(f"1:{prefix}a")
    for _ in range(5):
        listener.send(b"identifier=1:other\r\nGET / HTTP/1.1\r\n\r\n\0\xff")
    assert listener.waits()
    wire.send(f"5:{prefix}a", "1")
    assert listener.rest() == blocks(({f"{prefix}a": "5"}, "1"))


def test_order_within_a_channel_across_polls(wire: Wire, prefix: str) -> None:
    """Each message once and in order, though they come while nobody listens."""
    cursor, seen = "1", []
    for round_ in range(6):
        for number in range(3):
            wire.send(f"{prefix}a", str(round_ * 3 + number))
        body = wire.poll(f"{cursor}:{prefix}a").decode()
        seen += [int(line.split(":")[1]) for line in body.split("\n") if "data" in line]
        cursor = body.split('"')[-4]
    assert seen == list(range(18))


@pytest.mark.parametrize("empty", [b"identifier=\n", b"identifier=,,\n", b"identifier=5:\n", b"identifier=me:pw@\n"])
def test_a_marker_without_a_channel_is_refused(wire: Wire, empty: bytes) -> None:
    assert wire.on_wait(empty).rest() == b""
    answer = wire.on_wait(b"GET /?" + empty.strip() + b" HTTP/1.1\r\nHost: h\r\n\r\n").answer()
    assert answer[0].startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer[1].startswith(b"Empty identifier passed; listen with ?identifier=CHANNEL")


@pytest.mark.parametrize(
    "request_",
    [
        b"identifier=1:~a",
        b"identifier=1:~a\n",
        b"GET /?identifier=1:~a HTTP/1.0\r\n\r\n",
        b"GET /?identifier=1:~a HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /?identifier=1:~a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ],
)
def test_who_half_closes_gets_what_is_there(wire: Wire, prefix: str, request_: bytes) -> None:
    wire.send(f"5:{prefix}a", "1")
    assert wire.on_wait(own(request_, prefix), end=True).rest().endswith(b" \r\n" + blocks(({f"{prefix}a": "5"}, "1")))


def test_http_listeners_hear_what_text_listeners_hear(wire: Wire, prefix: str) -> None:
    waiting = [
        wire.on_wait(http(f"GET /?identifier=1:{prefix}a HTTP/1.0")),
        wire.on_wait(http(f"GET /?identifier=1:{prefix}a HTTP/1.1\nHost: h\nConnection: close")),
        wire.on_wait(http("POST / HTTP/1.1\nHost: h\nConnection: close", f"identifier=1:{prefix}a\n".encode())),
        wire.listen(f"1:{prefix}a"),
    ]
    for listener in waiting[:3]:
        listener.until(b"\r\n\r\n \r\n")
    wire.send(f"5:{prefix}a", "1")
    assert {listener.rest() for listener in waiting} == {blocks(({f"{prefix}a": "5"}, "1"))}
