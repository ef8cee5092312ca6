"""Which addresses and origins options take."""

from __future__ import annotations

import re

import pytest

from rplx.options.checks import origin, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:8088", "0.0.0.0", 8088),
        ("[::1]:80", "::1", 80),
        ("[::]:0", "::", 0),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("localhost:65535", "localhost", 65535),
        ("my_host.example.com:1", "my_host.example.com", 1),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "8088", ":8088", "a:", "a:b", "a:-1", "a:65536", "a:1 ", "a b:1", "::1:80", "[::1]", "[::1:80"),
        *("[1.2.3.4]:1", "[x]:1", "1.2.3:4", "256.1.1.1:1", "a:٣", "a:²", "-a:1", "http://a:1"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f'"{text}"')):
        parse_address(text)


@pytest.mark.parametrize(
    "text",
    [
        *("*", "http://a", "https://a.example:8443", "http://[::1]:8080", "capacitor://localhost"),
        *("https://*.example.com", "http://*.a:8080", "https://xn--bcher-kva.example", "https://a:80"),
    ],
)
def test_origins(text: str) -> None:
    assert origin(text) == ""


@pytest.mark.parametrize(
    "text", ["", "a", "http://", "http://a/", "http://a b", "http://a:65536", "http://u@a", "null"]
)
def test_what_is_no_origin(text: str) -> None:
    assert "is not an origin" in origin(text)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("https://Example.com", "https://example.com"),
        ("HTTPS://example.com", "https://example.com"),
        ("https://a.test:443", "https://a.test"),
        ("http://a.test:080", "http://a.test"),
        ("https://*.Example.com:443", "https://*.example.com"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::0:1]", "http://[::1]"),
    ],
)
def test_origins_that_no_browser_sends(text: str, sent: str) -> None:
    assert origin(text) == f'"{text}" is never sent by a browser, which writes "{sent}"'
    assert origin(sent) == ""


@pytest.mark.parametrize(
    "text", ["https://a*.example.com", "https://*", "https://a.*.com", "https://*.*.com", "https://.a.com"]
)
def test_a_star_in_an_origin_stands_for_whole_names(text: str) -> None:
    assert 'as in "https://*.example.com"' in origin(text)
