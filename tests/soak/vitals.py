"""What the system knows of a server under test: its descriptors, its time on the CPU, its sockets, its greenlets."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.child import Child
from tests.live import LiveServer

_SYS_PIDFD_GETFD = 438
_TICKS = os.sysconf("SC_CLK_TCK")

_CENSUS = """
import gc, signal, sys
import gevent
from greenlet import greenlet
from rplx.cli.command import main

def census():
    gc.unfreeze()
    gc.collect()
    alive = sum(isinstance(found, greenlet) and not found.dead for found in gc.get_objects())
    gc.freeze()
    print("census:", alive, flush=True)

signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGRTMIN})
gevent.signal_handler(signal.SIGRTMIN, census)
sys.argv[0] = "rplx"
sys.exit(main())
"""
COUNTED = ("-c", _CENSUS)
"""`LiveServer(program=COUNTED)`: a server whose greenlets can be counted."""


def greenlets(server: LiveServer) -> int:
    """Those alive in a server started with COUNTED."""
    before = sum(line.startswith("census: ") for line in server.log)
    server.process.send_signal(signal.SIGRTMIN)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [line for line in list(server.log) if line.startswith("census: ")]
        if len(found) > before:
            return int(found[-1].split()[1])
        time.sleep(0.01)
    raise AssertionError("the server does not count its greenlets")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def listening(pid: int) -> list[tuple[str, int]]:
    """The addresses where a process listens, in the order of their descriptors: WAIT before IN."""
    found = []
    for sock in _sockets(pid):
        with sock:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.append(sock.getsockname()[:2])
    return found


def connections(server: Child, port: int) -> list[socket.socket]:
    """The server's own connected sockets on one of its ports, as copies that share their options."""
    found = []
    for sock in _sockets(server.process.pid):
        if _is_connection(sock, port):
            found.append(sock)
        else:
            sock.close()
    return found


def _sockets(pid: int) -> Iterator[socket.socket]:
    """Copies of a process's sockets (pidfd_getfd(2)); the caller closes them. Errors: OSError."""
    pidfd = os.pidfd_open(pid)
    try:
        for fd in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                    continue
            except FileNotFoundError:
                continue
            copy = ctypes.CDLL(None, use_errno=True).syscall(_SYS_PIDFD_GETFD, pidfd, fd, 0)
            if copy < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            yield socket.socket(fileno=copy)
    finally:
        os.close(pidfd)


def _is_connection(sock: socket.socket, port: int) -> bool:
    try:
        sock.getpeername()
        return bool(sock.getsockname()[1] == port)
    except OSError:
        return False


def command(*words: str) -> str:
    """Runs a command of the system. Errors: OSError, subprocess.CalledProcessError."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
