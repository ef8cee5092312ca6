"""Tells service managers and ps about this process."""

from __future__ import annotations

import os
import socket
import time

from setproctitle import setproctitle

from rplx.log import Log

NOTIFY_TIMEOUT = 0.1  # seconds that a full NOTIFY_SOCKET may hold up a report


def set_title(title: str) -> None:
    """Sets the process's name in ps."""
    setproctitle(title)


def notify(state: str, log: Log) -> None:
    """Reports READY=1, RELOADING=1 or STOPPING=1 to systemd, if it started us (sd_notify(3)).

    If systemd cannot be reached, `log` is told once and nothing else happens.
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(NOTIFY_TIMEOUT)
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
            sock.send(state.encode())
    except OSError as error:
        log.trouble("notify", f"systemd is not told how we are, NOTIFY_SOCKET={path}: {error.strerror or error}")
    else:
        log.recovered("notify", "systemd is told again how we are")


def reloading() -> str:
    """Returns what systemd is told when a reload begins."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
