"""Who may come in on the IN line, and who is a browser (protocol page, part 7.7)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.lines.wire import Wire, http, settings
from tests.live import LiveServer

BROWSER = b"\r\n\r\nthis address is for back-ends, not for browsers\n"


def answer(wire: Wire, lines: str, body: bytes = b"1") -> bytes:
    """The answer to a send to 5:a with these header lines; IN in them is the line's own HOST:PORT."""
    own = "%s:%d" % wire.in_
    return wire.on_in(http(f"POST /?identifier=5:a HTTP/1.0\n{lines.replace('IN', own)}", body)).rest()


@pytest.mark.parametrize(
    "lines",
    [
        "Sec-Fetch-Mode: cors",  # Node's fetch
        "Host: IN\nReferer: http://IN/",
        "Host: h\nReferer: http://IN/?a=b#c",
        "Host: localhost:81\nReferer: HTTP://LocalHost:81/x",
        "Host: [::1]:81\nReferer: https://[::1]:81",
        "Host: 10.0.0.1\nReferer: http://10.0.0.1?x",
    ],
)
def test_a_back_end(wire: Wire, lines: str) -> None:
    assert answer(wire, lines).endswith(b"\r\n\r\na 5\n")


@pytest.mark.parametrize(
    "lines",
    [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: cors\nSec-Fetch-Site: none",
        "Origin: http://IN",
        "Origin: null",
        "Host: IN\nReferer: http://site.example/",
        "Host: IN\nReferer: http://127.0.0.1:1/",
        "Host: IN\nReferer: ",
        "Host: IN\nReferer: IN",
        "Referer: http://10.0.0.1/",
        # A page whose name was turned to our address (DNS rebinding), in a browser without Sec-Fetch.
        "Host: evil.example:81\nReferer: http://evil.example:81/",
        "Host: h\nReferer: http://h/",
        "Host: 127.0.0.1.evil.example\nReferer: http://127.0.0.1.evil.example/",
        "Host: evil.example\nReferer: http://127.0.0.1@evil.example/",
        "Host: IN\nReferer: http://IN@evil.example/",
    ],
)
def test_a_browser(wire: Wire, lines: str) -> None:
    answered = answer(wire, lines)
    assert answered.startswith(b"HTTP/1.0 403 Forbidden\r\n")
    assert answered.endswith(BROWSER)


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_fetch_of_node(wire: Wire, prefix: str) -> None:
    url = "http://%s:%d/" % wire.in_
    code = f"""
        fetch('{url}', {{ method: 'POST', headers: {{ 'X-Realplexor': 'identifier=5:{prefix}a' }}, body: '1' }})
          .then(async (response) => console.log(response.status, await response.text()))"""
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == f"200 {prefix}a 5"


class TestHosts:
    """in.hosts: the names that Host may have."""

    @pytest.fixture(scope="class")
    @classmethod
    def bounded(cls) -> Iterator[Wire]:
        with LiveServer(*settings('in.hosts=["localhost", "127.0.0.1", "::1", "In.Example."]')) as server:
            yield Wire(server)

    @pytest.mark.parametrize(
        "lines",
        [
            "",
            "Host:",
            "Host: localhost",
            "Host: LOCALHOST:80",
            "Host: IN",
            "Host: [::1]:80",
            "Host: in.example.:1",
            "Host: in.example:81\nReferer: http://in.example:81/",
        ],
    )
    def test_one_of_them(self, bounded: Wire, lines: str) -> None:
        assert answer(bounded, lines).endswith(b"\r\n\r\na 5\n")

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "127.0.0.2", "x:127.0.0.1", "[::2]", "h"]
    )
    def test_any_other(self, bounded: Wire, host: str) -> None:
        refused = b"\r\n\r\nthis Host is not among in.hosts\n"
        assert answer(bounded, f"Host: {host}").endswith(refused)
        # Also before a body that goes on to the half-close.
        without_end = bounded.on_in(http(f"POST / HTTP/1.1\nHost: {host}")).rest()
        assert without_end.startswith(b"HTTP/1.0 403 Forbidden\r\n")
        assert without_end.endswith(refused)

    def test_plain_text_has_none(self, bounded: Wire) -> None:
        bounded.send("5:plain", "1")
        assert b'"plain": "5"' in bounded.poll("1:plain")


def test_any_host_by_default(wire: Wire) -> None:
    assert answer(wire, "Host: whatever.example").endswith(b"\r\n\r\na 5\n")


def test_a_tls_handshake_is_closed_at_once_and_counted() -> None:
    with LiveServer() as server:
        wire = Wire(server)
        for portions in ([b"\x16\x03\x01\x02\x00\x01"], [b"\x16", b"\x03\x01"]):
            client = wire.on_in(portions[0])
            for portion in portions[1:]:
                client.send(portion)
            assert client.rest() == b""
        server.wait_for(r"^IN: 127\.0\.0\.1: a TLS handshake on a port without TLS")
        wire.send("5:a", "1")
        assert sum("TLS handshake" in line for line in server.log) == 1
