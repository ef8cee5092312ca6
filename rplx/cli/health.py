"""Whether a server answers: what a container's health check asks. Imports no gevent."""

from __future__ import annotations

import http.client
import socket
import time
from urllib.parse import quote

from rplx.addresses import UNIX, Networks
from rplx.cli.unix_connection import UnixConnection
from rplx.errors import Unhealthy
from rplx.options.checks import parse_target, unix_path
from rplx.options.environment import REACHED_AT
from rplx.options.rows import OPTIONS
from rplx.options.table import Config, WaitOptions

TIMEOUT = 4.0  # seconds for both answers
OK, NOT_FOUND = 200, 404
NOBODY = b"PROXY UNKNOWN\r\n"  # the PROXY header of a check, which is made for no client
STEP = 0.1  # seconds between two tries


def wait(config: Config, seconds: float) -> str:
    """As `check`, tried for so many seconds until the server answers. Raises the last Unhealthy."""
    end = time.monotonic() + seconds
    while True:
        try:
            return check(config)
        except Unhealthy:
            if time.monotonic() + STEP > end:
                raise
        time.sleep(STEP)


def check(config: Config) -> str:
    """Returns a line that says that the server answers. Raises Unhealthy if it does not.

    The first address of WAIT is asked for /health, which knows of Redis, too (part 9.5).
    """
    end = time.monotonic() + TIMEOUT
    announced = config.wait if config.wait.proxy_protocol else None
    where, status = _ask(config.wait.listen[0], "wait.listen", end, "GET", "/health", announced=announced)
    if status == NOT_FOUND:
        _check_older(config, end)
    elif status != OK:
        raise Unhealthy(f"{where}: answered {status}, as no WAIT line does (is it that of --set wait.listen?)")
    return f"{where} answers"


def _check_older(config: Config, end: float) -> None:
    """Asks a server of a version without /health. Raises Unhealthy if it does not answer.

    WAIT is asked for the script. If history is in Redis, IN is asked as well, for the position of WATCH: it answers 503
    while Redis is away, and the question leaves no trace, as a poll would in ONLINE.
    """
    path = f"/?{quote(config.pages.identifier)}={quote(config.pages.script_id)}"
    _ask(config.wait.listen[0], "wait.listen", end, "GET", path)  # it knows no wait.proxy_protocol either
    if config.engine.url != OPTIONS["engine.url"].default:
        _ask(config.in_.listen[0], "in.listen", end, "POST", "/", b"WATCH\n")


def _ask(
    address: str,
    option: str,
    end: float,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    announced: WaitOptions | None = None,
) -> tuple[str, int]:
    """Returns where it has answered, and with what status; 4xx will do, as IN may want a login. Raises Unhealthy.

    `announced`: set if the connection has to begin with a PROXY header, which not everybody may send (part 9.6).
    """
    connection, where = _connection(address, option, max(end - time.monotonic(), STEP))
    hint = f"is the server running there? --set {option}"
    try:
        if announced is not None:
            connection.connect()
            hint = _untrusted(connection.sock, announced) or hint
            connection.sock.sendall(NOBODY)
        connection.putrequest(method, path, skip_host=body is not None)  # in.hosts may not have this one
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace").strip() if answer.status >= 500 else ""
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or error or type(error).__name__
        raise Unhealthy(f"{where}: {why} ({hint})") from None
    finally:
        connection.close()
    if answer.status >= 500:
        raise Unhealthy(f"{where}: answered {answer.status}: {text}")
    return where, answer.status


def _untrusted(sock: socket.socket, wait: WaitOptions) -> str:
    """Returns why a server may close this connection, as it takes PROXY headers from proxies alone; else nothing."""
    trusted = Networks(wait.trusted_proxies)
    own = UNIX if sock.family == socket.AF_UNIX else str(sock.getsockname()[0])
    if not trusted or own in trusted:
        return ""
    return f"wait.proxy_protocol takes those of wait.trusted_proxies alone: add {own}, from where this check comes"


def _connection(address: str, option: str, timeout: float) -> tuple[http.client.HTTPConnection, str]:
    """Returns a connection that is not open yet, and what it is called. Raises Unhealthy."""
    path = unix_path(address)
    if path is not None:
        return UnixConnection(path, timeout), address
    try:
        host, port = parse_target(address)
    except ValueError as error:
        raise Unhealthy(f"{option}: {error} (--set {option})") from None
    host = REACHED_AT.get(host, host)
    return http.client.HTTPConnection(host, port, timeout=timeout), f"{host}:{port}"
