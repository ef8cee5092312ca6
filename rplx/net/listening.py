"""Listening sockets of both lines, and what accepted ones inherit from them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import socket
import struct
import termios
from collections.abc import Iterable
from dataclasses import dataclass

from rplx.errors import ConfigError
from rplx.options.checks import parse_address

BACKLOG = 4096  # connections that the kernel holds until they are accepted; it caps this at net.core.somaxconn
DEFER_ACCEPT = 5  # seconds that the kernel keeps a new connection that sends nothing; accept and read come in one turn
USER_TIMEOUT = 60_000  # milliseconds that sent bytes may stay unacknowledged
UNSENT_MAX = 131_072  # bytes that the kernel buffers for a listener; by default megabytes, unseen by write_timeout
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))  # seconds, seconds, probes
_SO_ATTACH_FILTER = 26  # socket(7); a program of bpf(4) sees a segment from its TCP header on
_SO_DETACH_FILTER = 27
_NO_SYN = (  # code, jump if true, jump if false, operand
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x54, 0, 0, 0x12),  # of which SYN and ACK
    (0x15, 0, 1, 0x02),  # if it is SYN alone
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # else take all of it
)


@dataclass(frozen=True, slots=True)
class Sockets:
    """The bound and listening sockets of both lines."""

    wait: list[socket.socket]
    in_: list[socket.socket]

    def close(self) -> None:
        for sock in (*self.wait, *self.in_):
            sock.close()


def show_address(sock: socket.socket) -> str:
    """Returns a socket's own address as HOST:PORT."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(addresses: Iterable[str], option: str, *, browsers: bool, shared: bool = False) -> list[socket.socket]:
    """Returns listening sockets on `addresses`; accepted sockets inherit what is set here.

    `shared`: further sockets may be bound to the same ports, and connections are spread over them (SO_REUSEPORT).
    `browsers`: the clients are browsers, so that silent and slow ones have to be found out.
    Raises ConfigError that says which addresses cannot be had and that `option` changes them.
    """
    sockets: list[socket.socket] = []
    problems = []
    for address in addresses:
        host, port = parse_address(address)
        try:
            sockets.append(_listen(host, port, browsers=browsers, shared=shared))
        except OSError as error:
            why = error.strerror or str(error)
            problems.append(f"cannot listen on {address}: {why}; another address is set by {option}")
    if problems:
        for sock in sockets:
            sock.close()
        raise ConfigError(problems)
    return sockets


def _listen(host: str, port: int, *, browsers: bool, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)
        if browsers:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_MAX)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, name, value)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def unsent(descriptor: int) -> int:
    """Returns the bytes that a socket has taken and its peer has not acknowledged, sent or not (tcp(7), SIOCOUTQ)."""
    found: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4))[0]
    return found


def drop_attempts(sockets: Iterable[socket.socket]) -> bool:
    """Makes the kernel drop new connection attempts; connections that have begun may still be accepted.

    A client that was dropped tries again after a second, and is then refused or comes to the next server. Returns False
    if the system does not allow it.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _NO_SYN))
    filter_ = struct.pack("@HP", len(_NO_SYN), ctypes.addressof(program))
    try:
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
    except OSError:
        return False
    return True


def admit_attempts(sockets: Iterable[socket.socket]) -> None:
    """Undoes `drop_attempts`, which an earlier server may have left on these sockets."""
    for sock in sockets:
        with contextlib.suppress(OSError):  # it is not there
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
