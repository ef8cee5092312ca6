"""One connection to a Redis server. redis-py makes it and hiredis reads it, on gevent's sockets.

So nothing has to be monkey-patched, and nothing blocks the loop.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import gevent.socket
import gevent.ssl
import hiredis
from redis import connection, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from rplx.engine.redis.address import Address, Node
from rplx.errors import ConfigError

CONNECT_TIMEOUT = 0.8  # seconds for a TCP connection, and for each answer while logging in
REPLY_TIMEOUT = 1.0  # seconds for each answer; later, the connection is given up

LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
"""Raised when a connection is lost or cannot be made."""

_NO_RETRY = Retry(NoBackoff(), 0)  # it could carry a command out twice; callers repeat what may be repeated

RedisError = exceptions.RedisError
ResponseError = exceptions.ResponseError


class NotRedis(exceptions.ConnectionError):
    """The other side speaks, but not as a Redis server does. The connection is lost with that, too."""


@contextmanager
def parsing() -> Iterator[None]:
    """Raises NotRedis, a ConnectionError, if reading an answer in here raises any other error."""
    try:
        yield
    except (RedisError, OSError):
        raise
    except Exception as error:
        raise _not_redis(error) from error


def _connect(self: Any) -> Any:
    error: OSError | None = None
    for family, kind, protocol, _, address in gevent.socket.getaddrinfo(
        self.host, self.port, type=gevent.socket.SOCK_STREAM
    ):
        sock = gevent.socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
            sock.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_KEEPALIVE, 1)
            sock.settimeout(self.socket_connect_timeout)
            sock.connect(address)
            sock.settimeout(self.socket_timeout)
            return sock
        except OSError as reason:
            sock.close()
            error = reason
    raise error or OSError("the host has no address")


class _Tcp(connection.Connection):
    _connect = _connect


class _Tls(connection.SSLConnection):
    def _connect(self) -> Any:
        sock = _connect(self)
        try:
            return self._context().wrap_socket(sock, server_hostname=self.host)
        except (OSError, ValueError):
            sock.close()
            raise

    def _context(self) -> Any:
        context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = self.check_hostname
        context.verify_mode = self.cert_reqs
        if self.certfile or self.keyfile:
            context.load_cert_chain(self.certfile, self.keyfile, self.certificate_password)
        if self.ca_certs or self.ca_path or self.ca_data:
            context.load_verify_locations(self.ca_certs, self.ca_path, self.ca_data)
        elif self.cert_reqs != ssl.CERT_NONE:
            context.load_default_certs()
        if self.ssl_min_version is not None:
            context.minimum_version = self.ssl_min_version
        if self.ssl_ciphers:
            context.set_ciphers(self.ssl_ciphers)
        return context


class _Unix(connection.UnixDomainSocketConnection):
    def _connect(self) -> Any:
        sock = gevent.socket.socket(gevent.socket.AF_UNIX, gevent.socket.SOCK_STREAM)
        try:
            sock.settimeout(self.socket_connect_timeout)
            sock.connect(self.path)
            sock.settimeout(self.socket_timeout)
        except OSError:
            sock.close()
            raise
        return sock


class _Resting:
    """A socket that rests before each read."""

    def __init__(self, sock: Any, rest: Callable[[], None]) -> None:
        self._sock = sock
        self._rest = rest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv_into(self, buffer: Any) -> int:
        self._rest()
        received: int = self._sock.recv_into(buffer)
        return received


class Wire:
    """A connection that has been made. All methods raise LOST; `read` raises RedisError, too, if Redis refuses."""

    def __init__(self, address: Address, node: Node, *, timeout: float = REPLY_TIMEOUT, sentinel: bool = False) -> None:
        self._connection = _make(address, node, sentinel)
        self._connect()
        self._connection._sock.settimeout(timeout)

    def _connect(self) -> None:
        with parsing():
            self._connection.connect()

    def send(self, commands: Iterable[tuple[Any, ...]]) -> None:
        """Sends commands together."""
        if self._connection._sock is None:  # redis-py would connect anew, and nobody would read what comes there
            raise exceptions.ConnectionError("the connection is closed")
        packed = b"".join(map(hiredis.pack_command, commands))
        self._connection.send_packed_command([packed], check_health=False)

    def read(self) -> Any:
        """Returns the next answer."""
        try:
            return self._connection.read_response()
        except (RedisError, OSError):
            raise
        except Exception as error:
            if self._connection._sock is None:
                raise exceptions.ConnectionError("the connection was closed meanwhile") from error
            self.close()  # nothing it says from here on has a meaning
            raise _not_redis(error) from error

    def rest_while_reading(self, rest: Callable[[], None]) -> None:
        """Has `rest` called now and then while an answer is read, however fast it comes."""
        parser = self._connection._parser
        parser._sock = _Resting(parser._sock, rest)

    def ask(self, *command: Any) -> Any:
        """Returns the answer to one command."""
        self.send([command])
        return self.read()

    def close(self) -> None:
        """Disconnects."""
        self._connection.disconnect()


def _not_redis(error: Exception) -> Exception:
    """Returns an error that says what redis-py's own does not: the other side is no Redis server."""
    return NotRedis(f"this is no Redis server: {error}")


def check(address: Address) -> None:
    """Raises ConfigError if redis-py does not know one of the options."""
    try:
        _make(address, address.nodes[0] if address.nodes else ("", 0), False)
    except (TypeError, ValueError, exceptions.RedisError) as error:
        raise ConfigError([f"engine.url cannot be used: {error}"]) from None


def _make(address: Address, node: Node, sentinel: bool) -> Any:
    options = {
        "socket_timeout": CONNECT_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "protocol": 2,
        "client_name": "rplx",
        **(address.sentinel_options if sentinel else address.options),
        "retry_on_timeout": False,
        "retry": _NO_RETRY,
    }
    if address.path:
        return cast(Any, _Unix)(path=address.path, **options)
    kind = cast(Any, _Tls if address.tls else _Tcp)
    return kind(host=node[0], port=node[1], **options)
