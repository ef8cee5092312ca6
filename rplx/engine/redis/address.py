"""What engine.url says: where Redis is, and under which names things are kept there.

    redis://[USER:PASSWORD@]HOST[:PORT][/DB]              rediss:// over TLS, unix:///PATH?db=DB by a socket file
    redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/SERVICE[/DB]      rediss+sentinel://
    redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT                    rediss+cluster://

valkey, valkeys stand for redis, rediss. Behind `?`: prefix=NAME (of all keys, "rplx"), sentinel_username and
sentinel_password, and what redis-py takes in its URLs (ssl_ca_certs=FILE, ssl_cert_reqs=none, db=N ...).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

from redis import connection

from rplx.errors import ConfigError

Node = tuple[str, int]  # host and port; "" and 0 where there is one only

_URL = re.compile(
    r"(?P<scheme>(redis|valkey)s?|unix)(\+(?P<kind>sentinel|cluster))?://"
    r"((?P<login>[^@/?]*)@)?(?P<hosts>[^/?]*)(?P<path>/[^?]*)?(\?(?P<query>.*))?"
)
_PREFIX = re.compile(r"[!-~]{1,64}")
_DEFAULT_PORT = {"sentinel": 26379}


@dataclass(frozen=True)
class Address:
    """`options` are keyword arguments of redis-py's connections; they may hold a password, so it is not shown."""

    kind: str  # "single" | "sentinel" | "cluster"
    nodes: tuple[Node, ...]
    service: str
    tls: bool
    path: str  # of a socket file, "" if there is none
    prefix: str
    options: dict[str, Any] = field(repr=False)
    sentinel_options: dict[str, Any] = field(repr=False)

    @property
    def shown(self) -> str:
        """Where Redis is, without passwords, for the log."""
        return self.path or ", ".join([f"{host}:{port}" for host, port in self.nodes])


def parse(url: str) -> Address:
    """Returns what `url` says. Raises ConfigError that says what is wrong without showing the URL."""
    match = _URL.fullmatch(url)
    if not match:
        raise _wrong(
            "is not a URL such as redis://HOST:PORT/0, redis+sentinel://HOST:PORT/SERVICE or redis+cluster://HOST:PORT"
        )
    kind = match["kind"] or "single"
    scheme = match["scheme"].replace("valkey", "redis")
    query = dict(parse_qsl(match["query"] or "", keep_blank_values=True))
    prefix = query.pop("prefix", "rplx")
    if not _PREFIX.fullmatch(prefix) or any(character in prefix for character in "*?[]\\"):
        raise _wrong("has a prefix with characters other than printable ones without space * ? [ ] \\")
    sentinel_login = {name: query.pop(f"sentinel_{name}", "") for name in ("username", "password")}
    path, service = match["path"] or "", ""
    if kind == "sentinel":
        service, _, database = path.strip("/").partition("/")
        path = f"/{database}" if database else ""
        if not service:
            raise _wrong("names no service: redis+sentinel://HOST:PORT,HOST:PORT/SERVICE")
    nodes = () if scheme == "unix" else _nodes(match["hosts"], _DEFAULT_PORT.get(kind, 6379))
    options = _options(scheme, match["login"], nodes, path, query)
    if kind == "cluster" and options.get("db"):
        raise _wrong("names a database, and a cluster has only database 0")
    socket_file = options.pop("path", "")
    tls = scheme == "rediss"
    sentinel_options = {name: value for name, value in options.items() if name.startswith("ssl_")}
    sentinel_options |= {name: value for name, value in sentinel_login.items() if value}
    return Address(kind, nodes, service, tls, socket_file, prefix, options, sentinel_options)


def _nodes(text: str, default_port: int) -> tuple[Node, ...]:
    nodes = []
    for item in text.split(","):
        match = re.fullmatch(r"(\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]*))(:(?P<port>\d{1,5}))?", item)
        if not match or int(match["port"] or 1) > 65535:
            raise _wrong("names a host that is not HOST or HOST:PORT")
        nodes.append((match["six"] or match["host"] or "localhost", int(match["port"] or default_port)))
    return tuple(nodes)


def _options(
    scheme: str, login: str | None, nodes: tuple[Node, ...], path: str, query: dict[str, str]
) -> dict[str, Any]:
    """Returns the keyword arguments of a connection. redis-py reads login, database and its own options in the URL."""
    account = f"{login}@" if login else ""
    host = "" if scheme == "unix" else "localhost"
    if scheme != "unix" and not re.fullmatch(r"(/\d*)?", path):
        raise _wrong("has a path that is not the number of a database")
    try:
        options: dict[str, Any] = cast(Any, connection).parse_url(
            f"{scheme}://{account}{host}{path}" + (f"?{urlencode(query)}" if query else "")
        )
    except ValueError as error:
        raise _wrong(f"cannot be used: {error}") from None
    for name in ("connection_class", "host", "port"):
        options.pop(name, None)
    return options


def _wrong(what: str) -> ConfigError:
    return ConfigError([f"engine.url {what}"])
