"""ONLINE (protocol page, part 3): who is online, with how many connections, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.lines.wire import Conversation, Wire, http, own, settings
from tests.live import LiveServer
from tests.waiting import eventually, takes_less

OPTIONS = settings("presence.offline_timeout=300")


def test_counts_sorted_by_id(wire: Wire, prefix: str) -> None:
    listeners = [wire.listen(ids.replace("~", prefix)) for ids in ("~b,~a", "~a", "1:~a,2:~a,*~a", "~B")]
    assert wire.online(prefix) == own(b"~B 1\n~a 3\n~b 1\n", prefix).decode()
    listeners.pop().close()
    eventually(lambda: wire.online(f"{prefix}B"), f"{prefix}B 0\n")


@pytest.mark.parametrize(
    ("prefixes", "answer"),
    [
        ("~", b"~a_1 1\n~a_2 1\n~b_1 1\n"),
        ("~a", b"~a_1 1\n~a_2 1\n"),
        ("~a_2", b"~a_2 1\n"),
        ("~a_2 ~b", b"~a_2 1\n~b_1 1\n"),
        ("~b ~a ~a_1", b"~a_1 1\n~a_2 1\n~b_1 1\n"),
        ("~c", b""),
        ("~a_22", b""),
    ],
)
def test_prefixes(wire: Wire, prefix: str, prefixes: str, answer: bytes) -> None:
    listener = wire.listen(own(b"~a_1,~a_2,~b_1", prefix).decode())
    assert wire.command(f"ONLINE {prefixes.replace('~', prefix)}").encode() == own(answer, prefix)
    assert listener.waits(0)


@pytest.mark.parametrize(
    ("command", "half_closes"),
    [
        (b"ONLINE ~", True),
        (b"online ~\n", True),
        (b"oNlInE ~\r\n", True),
        (b"ONLINE ~\n\n", False),
        (b"ONLINE ~\r\n\r\n", False),
        (b"ONLINE\t~ nobody\n\n", False),
        (b"X: y\n\nONLINE ~", True),
        (b"identifier=\r\n\r\nONLINE ~\r\n\r\n", False),
        (http("POST / HTTP/1.0\nX-Realplexor: identifier=", b"ONLINE ~"), False),
        (http("POST / HTTP/1.1\nHost: h\nConnection: close", b"ONLINE ~\n\n"), False),
        (http("POST / HTTP/1.1\nHost: h", length=False) + b"ONLINE ~\n", True),
    ],
)
def test_forms_of_a_command(wire: Wire, prefix: str, command: bytes, half_closes: bool) -> None:
    listener = wire.listen(f"{prefix}a")
    answer = f"{prefix}a 1\n".encode()
    expected = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)
    assert wire.on_in(own(command, prefix), end=half_closes).rest() == expected
    listener.close()


def test_all_if_no_prefix_is_given(wire: Wire, prefix: str) -> None:
    listener = wire.listen(f"{prefix}a")
    assert f"{prefix}a 1\n" in wire.command("ONLINE").splitlines(keepends=True)
    listener.close()


def leaves_at_once(wire: Wire, prefix: str, leave: Callable[[Conversation], None]) -> None:
    """Who hangs up is counted no more: at once, not when somebody looks for it."""

    def go() -> None:
        leave(listeners.pop())
        eventually(lambda: wire.online(prefix), f"{prefix}a {len(listeners)}\n")

    listeners = [wire.listen(f"{prefix}a") for _ in range(20)]
    takes_less(0.5, go, len(listeners))
    for listener in listeners:
        listener.close()


def test_who_hangs_up_is_counted_no_more(wire: Wire, prefix: str) -> None:
    leaves_at_once(wire, prefix, Conversation.close)


def test_the_grace_time() -> None:
    with LiveServer(*settings("presence.offline_timeout=0.5")) as server:
        wire = Wire(server)
        listener = wire.listen("a")
        assert wire.online("a") == "a 1\n"
        begin = time.monotonic()
        listener.close()
        eventually(lambda: wire.online("a"), "")
        assert time.monotonic() - begin >= 0.5


def test_a_listener_that_is_reset_is_gone_too(wire: Wire, prefix: str) -> None:
    leaves_at_once(wire, prefix, Conversation.reset)


def test_a_listener_that_was_served_is_in_its_grace_time(wire: Wire, prefix: str) -> None:
    listener = wire.listen(f"1:{prefix}a")
    wire.send(f"5:{prefix}a")
    listener.rest()
    assert wire.online(prefix) == f"{prefix}a 0\n"
    again = wire.listen(f"5:{prefix}a")
    assert wire.online(prefix) == f"{prefix}a 1\n"
    again.close()


@pytest.mark.parametrize("kept", [True, False])
def test_http_listeners_hang_up(wire: Wire, prefix: str, kept: bool) -> None:
    def come_and_go() -> None:
        listener = wire.on_wait(http(f"GET /?identifier={prefix}a HTTP/1.{int(kept)}\nHost: h"))
        eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
        listener.close()
        eventually(lambda: wire.online(prefix), f"{prefix}a 0\n")

    takes_less(0.5, come_and_go)


def test_a_poll_that_is_answered_from_history_was_online(wire: Wire, prefix: str) -> None:
    wire.send(f"5:{prefix}a")
    assert wire.online(prefix) == ""
    wire.on_wait(f"identifier=1:{prefix}a\n".encode()).rest()
    assert wire.online(prefix) == f"{prefix}a 0\n"
