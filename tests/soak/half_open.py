"""Listeners that vanish without a word: does the server find out by itself?

In a network namespace that swallows what should come back from it, so that neither acknowledgement nor reset does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rplx.net.listening import KEEPALIVE, USER_TIMEOUT
from tests.live import LiveServer
from tests.soak.clients import BackEnd
from tests.soak.crowd import Crowd, http
from tests.soak.vitals import command, connections
from tests.waiting import eventually

# Of RFC 2544's addresses for tests of network devices; four for each process, so that two may run at once.
HERE, THERE = (f"198.18.{os.getpid() >> 6 & 255}.{(os.getpid() & 63) * 4 + host}" for host in (1, 2))
EXPECTED = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): USER_TIMEOUT,
    **{(socket.IPPROTO_TCP, name): value for name, value in KEEPALIVE},
}
SHORT = (
    "-c",
    """
import socket, sys
from rplx.net import listening
listening.KEEPALIVE = ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2))
listening.USER_TIMEOUT = 2000
from rplx.cli.command import main
sys.exit(main())
""",
)
"""A server that asks after silent listeners much sooner than the real one."""

# Parks COUNT listeners of a channel, says so, and stays until its input ends. It runs inside the namespace.
_LISTENERS = """
import socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
held = [socket.create_connection((host, port)) for _ in range(count)]
for sock in held:
    sock.sendall(b"identifier=1:gone\\n")
    sock.recv(4096)
print("parked", flush=True)
sys.stdin.read()
"""


@dataclass
class OptionsCount:
    """Accepted sockets of the WAIT line, and those that lack an option."""

    looked_at: int = 0
    wrong: int = 0

    @property
    def flawless(self) -> bool:
        return self.looked_at > 0 and not self.wrong


def run_options(*, listeners: int) -> OptionsCount:
    """Reads the options of the server's own sockets."""
    count = OptionsCount()
    with LiveServer() as server, Crowd(server.wait) as crowd:
        crowd.park(listeners, http("1.0", "a"))
        for sock in connections(server, server.wait[1]):
            count.looked_at += 1
            count.wrong += any(sock.getsockopt(*option) != value for option, value in EXPECTED.items())
            sock.close()
    return count


@dataclass
class Count:
    """Two kinds vanish: those to whom nothing is sent, and those to whom a message is. Seconds until none was left."""

    vanished: int = 0
    silent_seconds: float = 0.0
    sent_seconds: float = 0.0
    within: float = 0.0
    honest_served: bool = False

    @property
    def flawless(self) -> bool:
        return self.vanished > 0 and self.honest_served and max(self.silent_seconds, self.sent_seconds) < self.within


def possible() -> bool:
    """Whether this machine lets us make a network namespace."""
    if os.getuid():
        return False
    try:
        with _namespace():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def run(*, listeners: int, short: bool = False) -> Count:
    """`short`: with timeouts of seconds; else those that the server has, two minutes."""
    count = Count(within=60.0 if short else 120.0)
    program = SHORT if short else ("-m", "rplx")
    with (
        _namespace() as namespace,
        LiveServer("--wait", f"{HERE}:0", "--in", "127.0.0.1:0", addresses=False, program=program) as server,
        Crowd(server.wait) as crowd,
    ):
        count.silent_seconds = _vanish(namespace, server, listeners, count)
        crowd.park(1, http("1.0", "1:gone"))
        count.sent_seconds = _vanish(namespace, server, listeners, count, '"anybody there?"')
        count.honest_served = crowd.until(lambda: b"anybody there?" in crowd.members[0].data, 60)
    return count


def _vanish(namespace: str, server: LiveServer, listeners: int, count: Count, text: str | None = None) -> float:
    """Listeners come and vanish; gives the seconds until the server holds no socket of theirs."""
    host, port = server.wait
    there = subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", _LISTENERS, host, str(port), str(listeners)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert there.stdout is not None
        assert there.stdout.readline() == "parked\n"
        command("ip", "-n", namespace, "route", "replace", "blackhole", HERE)
        begin = time.monotonic()
        count.vanished += _theirs(server)
        if text is not None:
            back_end = BackEnd(server.in_)  # a fresh one: in.timeout has ended one that was silent so long
            back_end.send("gone", text)
            back_end.close()
        with contextlib.suppress(AssertionError):
            eventually(lambda: not _theirs(server), timeout=count.within, told=lambda: "all who vanished are gone")
        return time.monotonic() - begin
    finally:
        there.kill()
        there.wait()
        command("ip", "-n", namespace, "route", "del", "blackhole", HERE)


def _theirs(server: LiveServer) -> int:
    """Connections from the namespace that the kernel still has here, also those that the server has closed."""
    found = command("ss", "-Htn", "dst", THERE, "sport", f"= :{server.wait[1]}")
    return len(found.splitlines())


@contextlib.contextmanager
def _namespace() -> Iterator[str]:
    """A network namespace, linked to this one. Errors: OSError, subprocess.CalledProcessError."""
    name = f"rplx{os.getpid()}"
    command("ip", "netns", "add", name)
    try:
        command("ip", "link", "add", name, "type", "veth", "peer", "name", "there", "netns", name)
        command("ip", "addr", "add", f"{HERE}/30", "dev", name)
        command("ip", "link", "set", name, "up")
        command("ip", "-n", name, "addr", "add", f"{THERE}/30", "dev", "there")
        command("ip", "-n", name, "link", "set", "there", "up")
        yield name
        command("ip", "link", "del", name)  # now, not some time after the namespace has gone
    finally:
        command("ip", "netns", "del", name)
