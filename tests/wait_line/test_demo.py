"""The sandbox's back-end: what anybody may send there costs the server little, and others are served meanwhile."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rplx.wait_line import demo
from tests.lines.wire import Wire, settings
from tests.live import LiveServer
from tests.waiting import at_best


@pytest.fixture(scope="module")
def sandbox() -> Iterator[LiveServer]:
    with LiveServer(command=("demo",)) as server:
        yield server
        assert not [line for line in server.log if "Traceback" in line]


def post(server: LiveServer, body: bytes) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(*server.wait, timeout=120)
    connection.request("POST", "/demo/send", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def asked(ids: list[str], data: object, count: int = 1) -> bytes:
    return json.dumps({"ids": ids, "data": data, "count": count}).encode()


def names(count: int) -> list[str]:
    return [f"id{number}" for number in range(count)]


def test_a_burst(sandbox: LiveServer) -> None:
    status, answer = post(sandbox, asked(["burst"], "{n}", 3))
    assert status == 200
    assert len(answer["receipts"]) == 3  # type: ignore[arg-type]
    body = Wire(sandbox).poll("1:burst")
    assert [text in body for text in (b'"1"', b'"2"', b'"3"', b'"4"')] == [True, True, True, False]


def test_it_needs_no_login_and_its_sends_are_logged(tmp_path: Path) -> None:
    """They are carried out as those of the IN line are, which lets no guest in here."""
    users = tmp_path / "users"
    users.write_text("# nobody\n")
    with LiveServer(*settings(f"users.file={users}", "log.connections=true"), command=("demo",)) as server:
        assert post(server, asked(["a", "b"], 1))[0] == 200
        server.wait_for(r"^WAIT: 127\.0\.0\.1:\d+: DEBUG: added data for \[a,b\]$")


@pytest.mark.parametrize(
    ("target", "status"), [("/", 200), ("/?1234", 200), ("/demo/online", 200), ("/demo/send", 405)]
)
def test_the_answer_to_head_is_the_head_of_what_get_gives(sandbox: LiveServer, target: str, status: int) -> None:
    """On one connection, where a body behind the first answer would be taken for the second."""
    client = http.client.HTTPConnection(*sandbox.wait, timeout=60)
    told = []
    for method in ("HEAD", "GET", "HEAD"):
        client.request(method, target)
        answer = client.getresponse()
        assert bool(answer.read()) == (method == "GET")
        told.append((answer.status, answer.getheaders()))
    assert told == [told[0]] * 3
    assert told[0][0] == status
    client.close()


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (asked(names(5000), "x", 1000), 413, "at most 20 channels at once"),
        (asked(["a"], "x" * 55_000, 1000), 413, "bytes of a message times messages times channels"),
        (asked(["a"], "{n}" * 18_000, 1000), 413, "bytes of a message times messages times channels"),
        (asked(["a"], "x", 1001), 400, "count must be from 1 to 1000"),
        (asked([], "x"), 400, "at least one channel"),
        (b"[" * 60_000, 400, "the body must be"),
        (b'{"ids": ["a"], "data": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", 400, "the body must be"),
        (b'{"ids": ["a"], "data": 1, "count": ' + b"9" * 5000 + b"}", 400, "the body must be"),
    ],
)
def test_what_is_too_much_is_refused(sandbox: LiveServer, body: bytes, status: int, text: str) -> None:
    found, answer = post(sandbox, body)
    assert (found, text in str(answer["error"])) == (status, True), answer


def test_others_are_served_while_the_longest_burst_is_sent(sandbox: LiveServer) -> None:
    """By the order of the answers: a poll that comes behind the burst is answered before it."""
    data = "x" * (demo.BURST_MAX // demo.COUNT_MAX // demo.IDS_MAX - 2)
    body = asked(names(demo.IDS_MAX), data, demo.COUNT_MAX)
    head = b"POST /demo/send HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    wire = Wire(sandbox)
    wire.send("5:other", "1")

    poll = b"GET /?identifier=1:other HTTP/1.1\r\nHost: h\r\n\r\n"
    kept = wire.on_wait(poll)
    kept.answer()
    # Streams make it long enough, as each message is written to each of them.
    stream = "GET /?identifier=%s HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n"
    streams = [wire.on_wait((stream % name).encode()) for name in names(demo.IDS_MAX)]
    for one in streams:
        one.until(b"event: open")

    def send_beside_polls() -> None:
        with sandbox.connect(sandbox.wait, timeout=120) as burst:
            burst.sendall(head % len(body) + body)
            served = 0
            while not readable(burst):
                kept.send(poll)
                assert b'"other": "5"' in kept.answer()[1]
                served += 1
            assert burst.recv(15) == b"HTTP/1.1 200 OK"
            assert served > 1

    at_best(send_beside_polls)


def readable(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(60)
