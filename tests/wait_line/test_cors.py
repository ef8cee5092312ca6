"""Which pages are of the site that the WAIT line serves, and what they are let read (SECURITY.md)."""

from __future__ import annotations

import pytest

from rplx.wait_line.cors import AllowedOrigins, is_of_one_site
from tests.legacy.test_legacy_daemon import Daemon, daemon
from tests.lines.wire import Wire
from tests.live import LiveServer

__all__ = ["daemon"]


@pytest.mark.parametrize(
    ("origin", "host", "told", "expected"),
    [
        ("http://site", "rpl.site", None, True),
        ("http://site", "rpl.site:8088", None, True),
        ("http://site.test:3000", "rpl.site.test", None, True),
        ("http://www.site.test", "rpl.site.test", None, True),
        ("http://site.test", "site.test:8088", None, True),
        ("http://site.test", "Site.Test.", None, True),
        ("http://a.b.site.test", "site.test", None, True),
        ("http://127.0.0.1:3000", "127.0.0.1:8088", None, True),
        ("http://[::1]:3000", "[::1]:8088", None, True),
        ("https://other.site.test", "rpl.site.test", "same-site", True),
        ("http://other.site.test", "rpl.site.test", None, False),
        ("http://www.com", "site.com", None, False),
        ("http://www.co.uk", "site.co.uk", None, False),
        ("http://www.uk", "site.co.uk", None, False),
        ("http://www.site.co.uk", "rpl.site.co.uk", None, True),
        ("http://a.co.uk", "b.co.uk", None, False),
        ("http://evilsite.test", "site.test", None, False),
        ("http://site.test.evil", "site.test", None, False),
        ("http://site.test", "evilsite.test", None, False),
        ("http://1", "127.0.0.1", None, False),
        ("http://0.0.1", "127.0.0.1", None, False),
        ("https://site.test", "rpl.site.test", "cross-site", False),
        ("null", "site.test", None, False),
        ("http://", "site.test", None, False),
        ("http://.", "site.test", None, False),
        ("http://www.", "site.test", None, False),
        ("http://site.test", "", None, False),
        ("http://site.test/", "site.test", None, False),
        ("http://u@site.test", "site.test", None, False),
        ("file://site.test", "site.test", None, False),
    ],
)
def test_who_is_of_one_site(origin: str, host: str, told: str | None, expected: bool) -> None:
    assert is_of_one_site(origin, host, told) is expected


def ask(wire: Wire, origin: str, method: str = "GET") -> bytes:
    lines = f"{method} /?identifier=a&position HTTP/1.1\r\nHost: rpl.site.test\r\nConnection: close\r\n"
    if origin:
        lines += f"Origin: {origin}\r\n"
    if method == "OPTIONS":
        lines += "Access-Control-Request-Method: POST\r\n"
    return wire.on_wait(f"{lines}\r\n".encode()).rest()


def test_the_old_command_lets_the_site_in(daemon: Daemon) -> None:
    wire = daemon.start()
    for method in ("GET", "OPTIONS"):
        answer = ask(wire, "http://site.test", method)
        assert b"\r\nAccess-Control-Allow-Origin: http://site.test\r\n" in answer
        assert b"\r\nVary: Origin\r\n" in answer
        assert b"Allow-Credentials" not in answer
        assert b"Access-Control-Allow-Origin" not in ask(wire, "http://foreign.test", method)
    assert ask(wire, "http://foreign.test", "OPTIONS").startswith(b"HTTP/1.1 403 ")
    plain = ask(wire, "")
    assert b"Vary" not in plain
    assert b"Access-Control" not in plain


def test_others_do_not(daemon: Daemon) -> None:
    with LiveServer() as server:
        assert b"Access-Control" not in ask(Wire(server), "http://site.test")
    daemon.configure("'wait.same_site' => 0,")
    assert b"Access-Control" not in ask(daemon.start(), "http://site.test")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://a.example.com", True),
        ("https://a.b.example.com", True),
        ("https://example.com", False),
        ("https://evilexample.com", False),
        ("https://.example.com", False),
        ("https://a.example.com.evil.test", False),
        ("https://evil.test/.example.com", False),
        ("https://evil.test:1.example.com", False),
        ("https://evil@a.example.com", False),
        ("http://a.example.com", False),
        ("https://a.example.com:8443", False),
        ("http://a.ported.test:8080", True),
        ("http://a.ported.test", False),
        ("https://exact.test", True),
        ("https://a.exact.test", False),
        ("null", False),
        (None, False),
    ],
)
def test_patterns_stand_for_names_below(origin: str | None, expected: bool) -> None:
    allowed = AllowedOrigins(["https://*.example.com", "http://*.ported.test:8080", "https://exact.test"])
    assert (origin in allowed) is expected
    assert not allowed.everybody


def test_a_page_of_a_name_below_reads_its_poll() -> None:
    with LiveServer("--set", "wait.allowed_origins=https://*.example.com") as server:
        poll = "GET /?identifier=a&position HTTP/1.1\r\nHost: h\r\nConnection: close\r\nOrigin: https://%s\r\n\r\n"
        wire = Wire(server)
        assert b"Allow-Origin: https://a.example.com\r\n" in wire.on_wait((poll % "a.example.com").encode()).rest()
        assert b"Allow-Origin" not in wire.on_wait((poll % "example.com").encode()).rest()
