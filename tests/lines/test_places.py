"""A place on IN that an idle connection holds is given up for one who comes."""

from __future__ import annotations

import time

import pytest

from tests.lines.wire import Wire, http, settings
from tests.live import LiveServer
from tests.waiting import at_best, eventually

PLACES = 20


@pytest.fixture
def wire():
    with LiveServer(*settings(f"in.max_connections={PLACES}")) as server:
        yield Wire(server)
        assert not [line for line in server.log if "Traceback" in line or "Error" in line]


@pytest.mark.parametrize(
    "begun",
    [
        b"\r\n",
        b"POST ",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
        b"identifier=x\n\n1",
        b"POST / HTTP/1.0\r\n\r\n",
    ],
    ids=["a blank line", "a first line", "half a body", "plain text", "a body without length"],
)
def test_the_idle_keep_nobody_out(wire: Wire, begun: bytes) -> None:
    """More of them than there are places, and a whole row of back-ends behind them; what they began is not stored."""
    idle = [wire.on_in(begun) for _ in range(PLACES + 5)]
    for number in range(1, PLACES + 1):
        wire.send(f"{number}:a", "1")  # while it waits for in.timeout it does not return
    assert wire.poll("0:a").count(b'"data"') == PLACES
    assert wire.poll("0:x") == b""
    wire.server.wait_for("IN: all in.max_connections are taken: an idle one is closed for one who comes")
    for one in idle:
        one.close()


def test_who_was_served_keeps_its_place_before_who_never_asked(wire: Wire) -> None:
    at_best(lambda: served_and_idle(wire))


def served_and_idle(wire: Wire) -> None:
    request = http("POST /?identifier=5:a HTTP/1.1\nHost: h", b"1")
    kept = [wire.on_in(request) for _ in range(PLACES // 2)]
    for one in kept:
        one.answer()
    idle = [wire.on_in(b"\r\n") for _ in range(PLACES - len(kept))]
    time.sleep(3)  # so that all have been idle for long enough
    comers = [wire.on_in(request) for _ in idle]
    for comer in comers:
        comer.answer()
    for one in kept:
        one.send(request)
        assert one.answer()[1] == b"a 5\n"
    assert all(one.rest() == b"" for one in idle)


def test_who_comes_waits_while_all_are_at_work_and_nothing_is_cut(wire: Wire) -> None:
    """Those who send on, each byte within a second, keep their places; who comes has one when the first is done."""
    at_best(lambda: all_at_work(wire))


def all_at_work(wire: Wire) -> None:
    request = http("POST /?identifier=5:a HTTP/1.0", b"1" * 8)
    busy = [wire.on_in(request[:-8]) for _ in range(PLACES)]
    comer = wire.on_in(http("POST /?identifier=5:a HTTP/1.0", b"1"))
    for _ in range(7):
        time.sleep(0.25)
        for one in busy:
            one.send(b"1")
    assert comer.waits(0)
    for one in busy:
        one.send(b"1")
        assert one.rest().endswith(b"\r\n\r\na 5\n")
    assert comer.rest().endswith(b"\r\n\r\na 5\n")


def test_a_place_is_sought_until_there_is_one(wire: Wire) -> None:
    """Who comes before anybody is idle for long enough has not to come again."""
    idle = [wire.on_in(b"\r\n") for _ in range(PLACES)]
    assert wire.on_in(http("POST /?identifier=5:a HTTP/1.0", b"1")).rest().endswith(b"\r\n\r\na 5\n")
    eventually(lambda: sum(not one.waits(0) for one in idle) >= 1, True)
