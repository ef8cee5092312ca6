"""The forms that option values must have. A `Check` takes a text and returns what is wrong with it, else ""."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Callable

Check = Callable[[str], str]

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_ORIGIN = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/:?#@\[\]]+)(?::(?P<port>\d{1,5}))?"
)
_NETWORK = re.compile(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?")  # neither a scope nor a mask
_DEFAULT_PORTS = {"http": 80, "https": 443}  # which browsers leave out of an origin
_HOOK = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_ENGINE_URL = re.compile(r"memory:|sqlite:///[^\0]*[^/\0]|((redis|valkey)s?(\+(sentinel|cluster))?|unix)://\S+")
PORT_MAX = 65535
UNIX_PATH_MAX = 107  # bytes of a socket's path (unix(7))
_INHERITED = re.compile(r"[3-9]|[1-9][0-9]{1,5}|[A-Za-z_@.-][\w@.-]*", re.ASCII)


def parse_address(text: str) -> tuple[str, int]:
    """Returns host and port of HOST:PORT, an IPv6 host in brackets as in `[::1]:80`; port 0 lets the kernel choose.

    Raises ValueError with a one-line text for any other form. Names are not resolved here.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f'"{text}" is not HOST:PORT')
    if not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
        hint = "; the path of a socket is absolute, as in unix:/run/rplx/in.sock" if host == "unix" else ""
        raise ValueError(f'"{text}": the port must be a number from 0 to {PORT_MAX}{hint}')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host, ipaddress.IPv6Address):
            raise ValueError(f'"{text}": "{host}" is not an IPv6 address')
    elif ":" in host:
        raise ValueError(f'"{text}": an IPv6 address stands in brackets, as in [::1]:{port}')
    elif re.fullmatch(r"[\d.]+", host):
        if not _is_ip(host, ipaddress.IPv4Address):
            raise ValueError(f'"{text}": "{host}" is not an IPv4 address')
    elif not _HOST_NAME.fullmatch(host):
        raise ValueError(f'"{text}": "{host}" is not a host name')
    return host, int(port)


def _is_ip(host: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> bool:
    try:
        kind(host)
    except ValueError:
        return False
    return True


def unix_path(text: str) -> str | None:
    """Returns the path of an address unix:/PATH; None if it is another one."""
    return text.removeprefix("unix:") if text.startswith("unix:/") else None


def inherited_name(text: str) -> str | None:
    """Returns what stands behind fd: in an address; None if it is another one."""
    return text.removeprefix("fd:") if text.startswith("fd:") else None


def parse_target(text: str) -> tuple[str, int]:
    """Returns the host and port to connect to: those of HOST:PORT, or unix:/PATH as the host, and 0.

    Raises ValueError with a one-line text for anything else.
    """
    if inherited_name(text) is not None:
        raise ValueError(f'"{text}" says not where a server is reached: give HOST:PORT or unix:/PATH')
    return parse_address(text) if unix_path(text) is None else (text, 0)


def address(text: str) -> str:
    """Checks an address to listen on: HOST:PORT, unix:/PATH, fd:NUMBER or fd:NAME."""
    path, name = unix_path(text), inherited_name(text)
    if path is not None:
        fits = "\0" not in path and len(os.fsencode(path)) <= UNIX_PATH_MAX
        return "" if fits else f'"{text}": the path of a socket has {UNIX_PATH_MAX} bytes at most'
    if name is not None:
        return "" if _INHERITED.fullmatch(name) else f'"{text}" is not fd:NUMBER, from 3 on, or fd:NAME'
    try:
        parse_address(text)
    except ValueError as error:
        return str(error)
    return ""


def socket_mode(text: str) -> str:
    return _form(text, r"0?[0-7]{3}", 'the access rights of a file, such as "0660"')


def origin(text: str) -> str:
    """Checks an origin as browsers send it (RFC 6454, 6.2): scheme, host, port and nothing behind them; or `*`.

    The host may begin with `*.`, which stands for all names below it.
    """
    if text == "*":
        return ""
    match = _ORIGIN.fullmatch(text)
    if match is None or int(match["port"] or 0) > PORT_MAX:
        return f'"{text}" is not an origin such as "https://example.com" (no path, no / at the end), nor "*"'
    if match["host"].startswith("."):
        return f'"{text}": names below are written with a *, as in "https://*.example.com"'
    if "*" in match["host"].removeprefix("*."):
        return f'"{text}": a * stands for whole names before the first point, as in "https://*.example.com"'
    sent = _as_sent(match["scheme"].lower(), match["host"], match["port"])
    return "" if text == sent else f'"{text}" is never sent by a browser, which writes "{sent}"'


def _as_sent(scheme: str, host: str, port: str | None) -> str:
    """Returns the origin as a browser writes it: in lower case, other alphabets as xn--, without a default port."""
    host = host.lower()
    if host.startswith("["):
        host = f"[{ipaddress.IPv6Address(host[1:-1])}]" if _is_ip(host[1:-1], ipaddress.IPv6Address) else host
    elif not host.isascii():
        with contextlib.suppress(UnicodeError):
            host = host.encode("idna").decode()
    shown = "" if port is None or int(port) == _DEFAULT_PORTS.get(scheme) else f":{int(port)}"
    return f"{scheme}://{host}{shown}"


def host(text: str) -> str:
    """Checks a host as a Host header has it, without a port: a name or an address, an IPv6 one in brackets or not."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if _is_ip(bare, ipaddress.IPv6Address) or (bare == text and _HOST_NAME.fullmatch(text)):
        return ""
    return f'"{text}" is not a host such as "localhost" or "[::1]" (no port)'


def proxy(text: str) -> str:
    """Checks an address, a network such as 10.0.0.0/8, or the word for those who come by a UNIX socket."""
    if text == "unix":
        return ""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or not _NETWORK.fullmatch(text):
        return f'"{text}" is no address such as "192.0.2.1", no network such as "10.0.0.0/8", and not "unix"'
    if network.network_address != ipaddress.ip_address(text.partition("/")[0]):
        return f'"{text}" has bits behind those that count; its network is "{network}"'
    return ""


def charset(text: str) -> str:
    # It is copied into a header, so nothing but the characters of a charset's name (RFC 2978, section 2.3).
    return _form(text, r"[A-Za-z0-9][A-Za-z0-9!#$%&'+^_`{}~.:-]*", 'the name of a charset, such as "utf-8"')


def channel_id(text: str) -> str:
    return _form(text, r"[A-Za-z0-9_]+", "a channel id: letters, digits and _")


def marker_word(text: str) -> str:
    # The search for it asks for a word boundary before it, so it begins with a word character.
    return _form(text, r"[A-Za-z0-9_][A-Za-z0-9_.-]*", 'a word such as "identifier"')


def uri_path(text: str) -> str:
    # Pages take it into a JavaScript string: no quotes, backslashes, tags or white space.
    return _form(text, r"[^\s\"'\\<>`]+", 'a path such as "/", without quotes or spaces')


def hook(text: str) -> str:
    return "" if text == "" or _HOOK.fullmatch(text) else f'"{text}" is not module:function'


def engine_url(text: str) -> str:
    # The value is not shown: it may hold a password.
    return "" if _ENGINE_URL.fullmatch(text) else "must be memory:, sqlite:///PATH or a URL such as redis://HOST:PORT/0"


def sync(text: str) -> str:
    return _form(text, r"always|process", "always or process")


def grant_key(text: str) -> str:
    """Checks KID=env:VARIABLE or KID=file:/PATH. What is wrong is not shown, as it may be the key itself."""
    if re.fullmatch(r"[A-Za-z0-9_.-]+\s*=\s*(env:\w+|file:/[^\0]+)", text, re.ASCII):
        return ""
    return 'a key is written KID=env:VARIABLE or KID=file:/PATH, such as "2026a=env:RPLX_GRANT_KEY"'


def cookie_name(text: str) -> str:
    return _form(text, r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)?", "the name of a cookie (RFC 6265, 4.1.1)")


def prefix(text: str) -> str:
    return _form(text, r"([A-Za-z0-9_][A-Za-z0-9_.-]*)?", "the beginning of a channel id: letters, digits, _, . and -")


def login_prefix(text: str) -> str:
    return _form(text, r"[A-Za-z0-9]+=([A-Za-z0-9_][A-Za-z0-9_.-]*)?", "LOGIN=PREFIX, such as shop=news")


def access(text: str) -> str:
    return _form(text, r"public|grant", "public or grant")


def not_empty(text: str) -> str:
    return "" if text.strip() else "must not be empty"


def _form(text: str, pattern: str, what: str) -> str:
    return "" if re.fullmatch(pattern, text) else f'"{text}" is not {what}'
