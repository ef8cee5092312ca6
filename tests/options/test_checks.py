"""Which addresses and origins options take."""

from __future__ import annotations

import re

import pytest

from rplx.addresses import Networks
from rplx.options.checks import origin, parse_address, proxy


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


@pytest.mark.parametrize(
    "text",
    [
        *("unix", "127.0.0.1", "192.0.2.1/32", "10.0.0.0/8", "0.0.0.0/0", "::1", "2001:db8::/32", "::/0", "FD00::/8"),
        *("::ffff:10.0.0.0/104", "::ffff:10.0.0.1"),
    ],
)
def test_proxies(text: str) -> None:
    assert proxy(text) == ""
    assert Networks([text])


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "::/129",
            "10/8",
            "10.0.0/24",
            "name",
            "unix:",
            "*",
        ),
        *("10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "fe80::1%eth0", "[::1]", "127.0.0.1:80", " ::1", "::1 "),
        *("10.0.0.0/8/8", "10.0.0.0/\u0668", "256.1.1.1", "01.2.3.4"),
    ],
)
def test_what_is_no_proxy(text: str) -> None:
    assert proxy(text) == f'"{text}" is no address such as "192.0.2.1", no network such as "10.0.0.0/8", and not "unix"'


def test_a_network_has_no_bits_behind() -> None:
    assert proxy("10.0.0.1/8") == '"10.0.0.1/8" has bits behind those that count; its network is "10.0.0.0/8"'
    assert proxy("2001:db8::1/32").endswith('its network is "2001:db8::/32"')
    assert proxy("::ffff:10.0.0.0/95")
