"""Listening sockets of both lines, and what accepted ones inherit from them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rplx.addresses import UNIX
from rplx.errors import ConfigError
from rplx.net import inherited
from rplx.net.unix_sockets import UnixSocket
from rplx.options.checks import inherited_name, parse_address, unix_path
from rplx.options.table import ServerOptions

BACKLOG = 4096  # connections that the kernel holds until they are accepted; it caps this at net.core.somaxconn
DEFER_ACCEPT = 5  # seconds that the kernel keeps a new connection that sends nothing; accept and read come in one turn
USER_TIMEOUT = 60_000  # milliseconds that sent bytes may stay unacknowledged
UNSENT_MAX = 131_072  # bytes that the kernel buffers for a listener; by default megabytes, unseen by write_timeout
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))  # seconds, seconds, probes
_SO_ATTACH_FILTER = 26  # socket(7); a program of bpf(4) sees a segment from its TCP header on
_SO_DETACH_FILTER = 27
_NOTHING = b"\0\0\0\0"
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

    def without(self, others: Iterable[Sockets]) -> Sockets:
        """Returns those that are not among the others."""
        held = {sock for sockets in others for sock in (*sockets.wait, *sockets.in_)}
        return Sockets(
            [sock for sock in self.wait if sock not in held], [sock for sock in self.in_ if sock not in held]
        )


def is_inherited(sock: socket.socket) -> bool:
    """Returns whether a socket outlives this process."""
    return isinstance(sock, inherited.InheritedSocket)


def split(sockets: Iterable[socket.socket]) -> tuple[list[socket.socket], list[socket.socket]]:
    """Returns the sockets of which each process can have its own (SO_REUSEPORT), and those that all must share."""
    own: list[socket.socket] = []
    shared: list[socket.socket] = []
    for sock in sockets:
        (shared if sock.family == socket.AF_UNIX or is_inherited(sock) else own).append(sock)
    return own, shared


def show_address(sock: socket.socket) -> str:
    """Returns a socket's own address as HOST:PORT, or as unix:/PATH."""
    if sock.family == socket.AF_UNIX:
        return "unix:" + os.fsdecode(sock.getsockname()).replace("\0", "@", 1)
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def show_port(sock: socket.socket) -> str:
    """Returns a socket's own address without its host."""
    return show_address(sock) if sock.family == socket.AF_UNIX else f"port {sock.getsockname()[1]}"


def own_host(sock: socket.socket) -> str:
    """Returns the host at which a socket is reached: UNIX for one that has a path."""
    host: str = UNIX if sock.family == socket.AF_UNIX else sock.getsockname()[0]
    return host


def accepting(sock: Any) -> Callable[[], tuple[int, Any]]:
    """Returns a function that accepts a connection: its bare descriptor, with the peer's host and port.

    That takes half the time of `socket.accept`. A UNIX peer has no address: its host is UNIX, and its port the
    descriptor, by which the log tells one from another.
    """
    accept: Callable[[], tuple[int, Any]] = sock._accept
    if sock.family != socket.AF_UNIX:
        return accept

    def accept_unix() -> tuple[int, Any]:
        descriptor, _ = accept()
        return descriptor, (UNIX, descriptor)

    return accept_unix


def listen(
    addresses: Iterable[str], option: str, server: ServerOptions, *, browsers: bool, shared: bool = False
) -> list[socket.socket]:
    """Returns listening sockets on `addresses`; accepted sockets inherit what is set here.

    An address is HOST:PORT, unix:/PATH, or fd:NAME for those that this process was started with (part 9.7). `server`
    says who may connect to a path. Sockets with a path, and those that were there before, are always shared.
    `shared`: further sockets may be bound to the same ports, and connections are spread over them (SO_REUSEPORT).
    `browsers`: the clients are browsers, so that silent and slow ones have to be found out.
    Raises ConfigError that says which addresses cannot be had and that `option` changes them.
    """
    sockets: list[socket.socket] = []
    problems = []
    for address in addresses:
        try:
            sockets += _listen(address, server, browsers=browsers, shared=shared)
        except OSError as error:
            why = error.strerror or str(error)
            problems.append(f"cannot listen on {address}: {why}; another address is set by {option}")
    if problems:
        for sock in sockets:
            sock.close()
        raise ConfigError(problems)
    return sockets


def _listen(address: str, server: ServerOptions, *, browsers: bool, shared: bool) -> list[socket.socket]:
    name, path = inherited_name(address), unix_path(address)
    sockets: list[socket.socket]
    if name is not None:
        sockets = inherited.take(name)
    elif path is not None:
        sockets = [UnixSocket(path, int(server.socket_mode, 8), server.user)]
    else:
        sockets = [_bound(*parse_address(address), shared=shared)]
    for sock in sockets:
        _begin(sock, browsers=browsers)
    return sockets


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
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
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _begin(sock: socket.socket, *, browsers: bool) -> None:
    """Has a bound socket listen, or one that listens already do so as ours do."""
    try:
        if sock.family != socket.AF_UNIX:
            _set_tcp_options(sock, browsers=browsers)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise


def _set_tcp_options(sock: socket.socket, *, browsers: bool) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)
    if browsers:
        notice_the_gone(sock)


def notice_the_gone(sock: Any) -> None:
    """Has a TCP socket, or those that it accepts, end when the peer has vanished, and hold little that is not sent."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_MAX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, name, value)


def unsent(descriptor: int) -> int:
    """Returns the bytes that a socket has taken and its peer has not acknowledged, sent or not (tcp(7), SIOCOUTQ)."""
    found: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4))[0]
    return found


def has_unread(descriptor: int) -> bool:
    """Returns whether bytes have come on a socket that were not read (tcp(7), SIOCINQ)."""
    return fcntl.ioctl(descriptor, termios.FIONREAD, _NOTHING) != _NOTHING


def drop_attempts(sockets: Iterable[socket.socket]) -> bool:
    """Makes the kernel drop new connection attempts; connections that have begun may still be accepted.

    The path of a UNIX socket is removed. Inherited sockets stay as they are: the next process serves who connects.

    A client that was dropped tries again after a second, and is then refused or comes to the next server. Returns False
    if the system does not allow it, and if all sockets stay as they are.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _NO_SYN))
    filter_ = struct.pack("@HP", len(_NO_SYN), ctypes.addressof(program))
    ending = [sock for sock in sockets if not is_inherited(sock)]
    try:
        for sock in ending:
            if isinstance(sock, UnixSocket):
                sock.withdraw()
            else:
                sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
    except OSError:
        return False
    return bool(ending)


def admit_attempts(sockets: Iterable[socket.socket]) -> None:
    """Undoes `drop_attempts`, which an earlier server may have left on these sockets."""
    for sock in sockets:
        with contextlib.suppress(OSError):  # it is not there
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
