"""Listening sockets that whoever started this process has opened, and keeps when it ends (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket

FIRST = 3  # the descriptor behind standard input, output and error, with which those of systemd begin


class InheritedSocket(socket.socket):
    """A listening socket that outlives this process: who connects when it has ended is served by the next one."""


def take(name: str) -> list[socket.socket]:
    """Returns the listening sockets called `name`: a descriptor's number, or a name of LISTEN_FDNAMES.

    They are copies, so that they may be closed and taken again. Raises OSError with a one-line text.
    """
    sockets: list[socket.socket] = []
    try:
        for descriptor in _descriptors(name):
            sockets.append(_copy(descriptor))
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _descriptors(name: str) -> list[int]:
    if name.isdigit():
        return [int(name)]
    environ = os.environ
    names: list[str] = []
    if environ.get("LISTEN_PID") == str(os.getpid()) and environ.get("LISTEN_FDS", "").isdigit():
        names = environ.get("LISTEN_FDNAMES", "").split(":")[: int(environ["LISTEN_FDS"])]
    found = [FIRST + number for number, given in enumerate(names) if given == name]
    if not found:
        known = f"; it has {', '.join(dict.fromkeys(names))}" if any(names) else ""
        raise OSError(f"this process was started with no socket of that name (LISTEN_FDNAMES){known}")
    return found


def _copy(descriptor: int) -> InheritedSocket:
    try:
        sock = InheritedSocket(fileno=os.dup(descriptor))
    except OSError as error:
        raise OSError(f"descriptor {descriptor}: {error.strerror or error}") from None
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise OSError(f"descriptor {descriptor} is no listening socket of streams")
    os.set_inheritable(descriptor, False)  # no program that we start gets it
    return sock
