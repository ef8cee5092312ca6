"""Listeners that hang up, half-close, never read, or are very many: one does not harm another."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.lines.wire import CLOSED, Conversation, Wire, blocks, http, settings
from tests.live import LiveServer
from tests.waiting import at_best, eventually, takes_less

OPTIONS = settings(
    "presence.offline_timeout=2",
    "wait.timeout=600",
    "in.maxlen=8000000",
    "history.max_messages=1000",
)


def test_who_hangs_up_is_offline_after_the_grace_time(wire: Wire, prefix: str) -> None:
    """The main path of presence, as ONLINE and WATCH tell it."""
    start = wire.command("WATCH\n\n")[5:].partition(":")[0]
    listener = wire.listen(f"{prefix}a")
    assert wire.online(prefix) == f"{prefix}a 1\n"
    listener.close()
    eventually(lambda: wire.online(prefix), "")
    assert [line.split(" ")[0] for line in wire.command(f"WATCH {start} {prefix}\n\n").splitlines()] == ["offline"]


class TestHalfClose:
    """A listener whose sending half has ended hears nothing more: it is as good as gone."""

    @pytest.mark.parametrize("request_", [b"identifier=%b\n", http("GET /?identifier=%b HTTP/1.0")])
    def test_while_it_waits(self, wire: Wire, prefix: str, request_: bytes) -> None:
        at_best(lambda: self.is_counted_no_more(wire, prefix, request_))

    def is_counted_no_more(self, wire: Wire, prefix: str, request_: bytes) -> None:
        """When its connection ends, and before its grace time has passed."""
        listener = wire.on_wait(request_ % f"1:{prefix}a".encode())
        listener.until(b" \r\n")
        eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
        listener.end()
        assert listener.rest() == b""
        assert wire.online(prefix) == f"{prefix}a 0\n"

    def test_right_behind_the_request(self, wire: Wire, prefix: str) -> None:
        assert wire.on_wait(f"identifier={prefix}a".encode(), end=True).rest() == CLOSED
        assert wire.on_wait(f"identifier={prefix}a\n".encode(), end=True).rest() == CLOSED

    def test_right_behind_an_http_request(self, wire: Wire, prefix: str) -> None:
        """An answer comes, if an empty one: no client is left with a connection that ended without a word."""
        request = http(f"GET /?identifier={prefix}a HTTP/1.1\nHost: h")
        answer = wire.on_wait(request, end=True).rest()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n \r\n")


@pytest.mark.parametrize("head", ["identifier=1:{}a\n", "GET /?identifier=1:{}a HTTP/1.0\r\n\r\n"])
def test_bytes_behind_a_request_that_is_answered_at_once(wire: Wire, prefix: str, head: str) -> None:
    """They are thrown away: unread, they would turn the end of the answer into a reset."""
    wire.send(f"5:{prefix}a", "1")
    listener = wire.on_wait(head.format(prefix).encode())
    body = listener.until(b"\n]")
    listener.send(b"X-More: of the old client's request\r\n\r\n")
    time.sleep(0.05)
    assert listener.rest() == b""
    assert body.endswith(blocks(({f"{prefix}a": "5"}, "1")))


class TestWhoNeverReads:
    def test_the_others_are_not_delayed(self, wire: Wire, prefix: str) -> None:
        """Live delivery of more than the kernel holds to one who takes nothing."""
        message = '"' + "x" * 7_000_000 + '"'
        stuck = [wire.listen(f"1:{prefix}a") for _ in range(3)]
        reading = wire.listen(f"1:{prefix}a")
        wire.send(f"5:{prefix}a", message)
        assert reading.rest() == blocks(({f"{prefix}a": "5"}, message))
        numbers = itertools.count()

        def another() -> None:
            number = next(numbers)
            other = wire.listen(f"1:{prefix}b{number}")
            wire.send(f"5:{prefix}b{number}", "1")
            assert other.rest() == blocks(({f"{prefix}b{number}": "5"}, "1"))

        takes_less(0.5, another)
        # Who begins to read after all gets it whole.
        assert stuck[0].rest() == blocks(({f"{prefix}a": "5"}, message))
        for listener in stuck[1:]:
            listener.close()

    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    def test_history_that_the_socket_does_not_take_at_once(self, wire: Wire, prefix: str, version: str) -> None:
        message = '"' + "x" * 7_000_000 + '"'
        wire.send(f"5:{prefix}a", message)
        stuck = wire.on_wait(http(f"GET /?identifier=1:{prefix}a HTTP/{version}\nHost: h"))
        time.sleep(0.2)
        other = wire.listen(f"1:{prefix}b")
        wire.send(f"5:{prefix}b", "1")
        assert other.rest() == blocks(({f"{prefix}b": "5"}, "1"))
        body = b" \r\n" + blocks(({f"{prefix}a": "5"}, message))
        if version == "1.1":
            assert stuck.answer()[1] == body
            stuck.send(http(f"GET /?identifier=1:{prefix}b HTTP/1.1\nHost: h"))
            assert stuck.answer()[1].endswith(blocks(({f"{prefix}b": "5"}, "1")))
        else:
            assert stuck.rest().endswith(b"\r\n\r\n" + body)

    def test_history_that_nobody_takes_any_more(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}a", '"' + "x" * 7_000_000 + '"')
        for _ in range(5):
            Conversation(wire.wait, f"identifier=1:{prefix}a\n".encode()).reset()
        eventually(lambda: wire.online(f"{prefix}a"), "")


def test_churn_leaves_nobody_behind(wire: Wire, prefix: str) -> None:
    """Listeners that come, go and are served in every way: afterwards all counts are back."""
    before = wire.command("STATS").count(prefix)
    assert before == 0
    for number in range(40):
        listeners = [wire.listen(f"1:{prefix}{number % 3},1:{prefix}x") for _ in range(4)]
        listeners[0].close()
        listeners[1].reset()
        listeners[2].end()
        wire.send(f"{number + 2}:{prefix}{number % 3}" if number % 2 else f"0:{prefix}x")
        listeners[3].close()
    eventually(lambda: wire.online(prefix), "")
    stats = wire.command("STATS")
    assert prefix not in stats.partition("[connected_fhs]")[2].partition("[cleanup_timers]")[0]


def test_nothing_is_lost_or_twice_while_polls_come_and_go(wire: Wire, prefix: str) -> None:
    """Kept, closed and plain text listeners poll on and on from the last cursor, while a back-end sends in a row."""
    count = 300
    seen: dict[str, list[int]] = {}

    def follow(name: str) -> None:
        cursor, found = "1", seen.setdefault(name, [])
        kept = wire.on_wait()
        while len(found) < count:
            if name == "kept":
                kept.send(http(f"GET /?identifier={cursor}:{prefix}a HTTP/1.1\nHost: h"))
                body = kept.answer()[1].decode()
            elif name == "closed":
                body = wire.on_wait(http(f"GET /?identifier={cursor}:{prefix}a HTTP/1.0")).rest().decode()
            else:
                body = wire.on_wait(f"identifier={cursor}:{prefix}a\n".encode()).rest().decode()
            found += [int(number) for number in re.findall(r'"data": (\d+)', body)]
            cursor = re.findall(r'": "([\d.]+)" }', body)[-1]

    followers = [threading.Thread(target=follow, args=(name,)) for name in ("kept", "closed", "text")]
    for follower in followers:
        follower.start()
    sender = wire.on_in()
    for number in range(count):
        sender.send(http(f"POST /?identifier={prefix}a HTTP/1.1\nHost: h", b"%d" % number))
        sender.answer()
        if number % 10 == 0:
            time.sleep(0.01)  # else history would run ahead of who polls
    for follower in followers:
        follower.join(120)
    assert seen == {name: list(range(count)) for name in ("kept", "closed", "text")}


def test_fifteen_thousand_are_served_by_one_send() -> None:
    """In one process; the crowd sits in two others, each with an address of its own."""
    crowd = Path(__file__).with_name("crowd.py")
    with LiveServer() as server:
        host, port = server.wait
        clients = [
            subprocess.Popen(
                [sys.executable, str(crowd), host, str(port), f"127.0.0.{number}", "7500", "all"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in (2, 3)
        ]
        try:
            wire = Wire(server)
            for client in clients:
                assert client.stdout is not None
                assert client.stdout.readline() == "parked\n"
            assert wire.online("all") == "all 15000\n"
            wire.send("5:all", '"to all"')
            results = [client.communicate(timeout=120)[0].split() for client in clients]
            assert [served for served, _ in results] == ["7500", "7500"]
            assert wire.online("all") == "all 0\n"
        finally:
            for client in clients:
                client.kill()
                client.wait()
