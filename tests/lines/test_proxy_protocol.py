"""wait.proxy_protocol: a header at the beginning of each connection names the client (part 9.6)."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.child import Child
from tests.lines.proxies import in_front
from tests.lines.test_trusted_proxies import OTHER, poll, registered, status
from tests.lines.wire import Conversation, Wire, settings
from tests.live import LiveServer
from tests.protocol.test_proxy_protocol import HEADERS, WRONG
from tests.waiting import eventually

LIMIT = 2
OPTIONS = settings(
    "wait.proxy_protocol=true",
    "log.connections=true",
    "wait.head_timeout=3",
    f"wait.max_connections_per_address={LIMIT}",
)


def announced(host: str, port: int = 4711) -> bytes:
    return f"PROXY TCP4 {host} 192.0.2.1 {port} 8088\r\n".encode()


class TestHeader:
    @pytest.mark.parametrize("pieces", ["whole", "bytes"])
    @pytest.mark.parametrize(("header", "host", "port"), [case for case in HEADERS if len(case[0]) < 600])
    def test_it_names_the_client(
        self, wire: Wire, prefix: str, header: bytes, host: str, port: int, pieces: str
    ) -> None:
        request = poll(f"{prefix}a&position", "X-Forwarded-For: 198.51.100.1")
        listener = wire.on_wait()
        if pieces == "whole":
            listener.send(header + request)
        else:
            for place in range(len(header)):
                listener.send(header[place : place + 1])
            listener.send(request)
        assert status(listener) == b"200"
        assert registered(wire, f"{prefix}a") == (host or "127.0.0.1")
        if host:
            wire.server.wait_for(rf"WAIT: {host}:{port}: DEBUG: \[.*:{prefix}a\] registered")
        listener.close()

    def test_the_longest(self, wire: Wire, prefix: str) -> None:
        header, host, _ = max(HEADERS, key=lambda case: len(case[0]))
        listener = wire.on_wait(header + poll(f"{prefix}a&position"))
        assert status(listener) == b"200"
        assert registered(wire, f"{prefix}a") == host
        listener.close()

    def test_once_for_a_kept_connection(self, wire: Wire, prefix: str) -> None:
        listener = wire.on_wait(announced("203.0.113.7") + poll(f"{prefix}0&position"))
        listener.answer()
        for number in (1, 2):
            listener.send(poll(f"{prefix}{number}&position"))
            listener.answer()
            assert registered(wire, f"{prefix}{number}") == "203.0.113.7"
        listener.close()

    def test_plain_text_behind_it(self, wire: Wire, prefix: str) -> None:
        listener = wire.on_wait(announced("203.0.113.7") + f"identifier=5:{prefix}a\n".encode())
        eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
        assert registered(wire, f"{prefix}a") == "203.0.113.7"
        listener.close()


class TestWithout:
    @pytest.mark.parametrize("data", [case[0] for case in WRONG])
    def test_it_is_closed(self, wire: Wire, data: bytes) -> None:
        assert closed(wire.on_wait(data))

    def test_nor_if_half_a_header_comes(self, wire: Wire) -> None:
        for data in (b"P", b"PROXY TCP4 1.2", HEADERS[7][0][:20]):
            assert closed(wire.on_wait(data))
        assert closed(wire.on_wait(b"PROXY TCP4 1.2", end=True))

    def test_the_request_has_to_come_in_time_too(self, wire: Wire) -> None:
        assert closed(wire.on_wait(announced("203.0.113.7")))
        assert wire.on_wait(announced("203.0.113.7") + b"GET / HT").rest().startswith(b"HTTP/1.1 408 ")


def closed(conversation: Conversation) -> bool:
    """Whether the server ends it without a word; what it did not read makes that a reset."""
    try:
        return conversation.rest() == b""
    except ConnectionError:
        return True


def test_the_log_counts_those_without() -> None:
    with LiveServer(*settings("wait.proxy_protocol=true")) as server:
        wire = Wire(server)
        for _ in range(3):
            assert closed(wire.on_wait(poll("a")))
        server.wait_for(r"WAIT: 127\.0\.0\.1: closed, no PROXY header \(wait\.proxy_protocol\)")
        assert status(wire.on_wait(announced("203.0.113.7") + poll("a&position"))) == b"200"
        assert sum("PROXY" in line for line in server.log) == 1


def test_connections_of_one_client_count(wire: Wire) -> None:
    held = [wire.on_wait(announced(f"203.0.113.{n % 2}", n) + poll("a&position")) for n in range(2 * LIMIT)]
    for conversation in held:
        conversation.answer()
    assert wire.on_wait(announced("203.0.113.1") + poll("a")).rest().startswith(b"HTTP/1.1 503 ")
    assert wire.on_wait(announced("203.0.113.1")).rest().startswith(b"HTTP/1.1 503 ")
    wire.server.wait_for(r"WAIT: 203\.0\.113\.1: refused, more than 2 connections from one address")
    for conversation in held:
        conversation.end()
        conversation.rest()
    again = wire.on_wait(announced("203.0.113.1") + poll("a&position"))
    assert status(again) == b"200"
    again.close()


def test_only_trusted_proxies_are_served_where_there_are_any() -> None:
    with LiveServer(*settings("wait.proxy_protocol=true", "wait.trusted_proxies=127.0.0.1")) as server:
        wire = Wire(server)
        data = announced("203.0.113.7") + poll("a&position")
        assert status(wire.on_wait(data)) == b"200"
        for forged in (data, poll("a&position")):
            assert closed(Conversation(wire.wait, forged, source=OTHER))
        server.wait_for(r"WAIT: 127\.0\.0\.2: closed, it is not among wait\.trusted_proxies \(wait\.proxy_protocol\)")


def test_a_health_check_is_for_no_client() -> None:
    with LiveServer(*settings("wait.proxy_protocol=true")) as server:
        wait = "%s:%d" % server.wait
        check = Child(
            [sys.executable, "-m", "rplx", "health", *settings(f"wait.listen={wait}", "wait.proxy_protocol=true")]
        )
        check.wait_for(f"{wait} answers")


def test_a_health_check_says_that_it_has_to_be_trusted() -> None:
    with LiveServer(*settings("wait.proxy_protocol=true", "wait.trusted_proxies=127.0.0.2")) as server:
        wait = "%s:%d" % server.wait
        checked = ["-m", "rplx", "health", *settings(f"wait.listen={wait}", "wait.proxy_protocol=true")]
        refused = Child([sys.executable, *checked, *settings("wait.trusted_proxies=127.0.0.2")])
        refused.wait_for(rf"{wait}: .* \(wait\.proxy_protocol takes .* alone: add 127\.0\.0\.1, from where this check")


def test_reload(tmp_path: Path) -> None:
    file = tmp_path / "rplx.toml"

    def configure(on: str) -> None:
        file.write_text(f"[wait]\nproxy_protocol = {on}\n")

    def reload(server: LiveServer, on: str) -> None:
        before = sum("is changed" in line for line in server.log)
        configure(on)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: sum("is changed" in line for line in server.log), before + 1)

    configure("false")
    with LiveServer("--config", str(file)) as server:
        wire = Wire(server)
        before = wire.on_wait(poll("a&position"))
        before.answer()
        reload(server, "true")
        begun = wire.on_wait(announced("203.0.113.7")[:9])
        assert closed(wire.on_wait(poll("a&position")))
        before.send(poll("a&position"))  # it had none to send when it began
        before.answer()
        reload(server, "false")
        begun.send(announced("203.0.113.7")[9:] + poll("a&position"))  # it had one to send
        assert status(begun) == b"200"
        assert status(wire.on_wait(poll("a&position"))) == b"200"


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2"])
def test_behind_haproxy(wire: Wire, prefix: str, tmp_path: Path, how: str) -> None:
    with in_front("haproxy", tmp_path, wire.wait, how) as front:
        listener = Conversation(front.address, poll(f"5:{prefix}a"), source=OTHER)
        assert registered(wire, f"{prefix}a") == OTHER
        wire.send(f"6:{prefix}a", "1")
        assert b'"data": 1' in listener.answer()[1]
        listener.send(poll(f"6:{prefix}b&position"))
        listener.answer()
        port = listener.peer.rpartition(":")[2]
        wire.server.wait_for(rf"WAIT: 127\.0\.0\.2:{port}: DEBUG: \[6:{prefix}b\] registered")
        listener.close()
