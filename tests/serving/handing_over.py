"""Plays systemd: keeps the listening sockets, and starts one server after the other with them (sd_listen_fds(3)).

Listeners poll meanwhile, each on a connection that it keeps while it may, and back-ends send on a new connection each.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.live import LiveServer

LAUNCH = """
import fcntl, os, sys
for number, given in enumerate([fcntl.fcntl(given, fcntl.F_DUPFD, 50) for given in {given}]):
    os.dup2(given, 3 + number)
    os.close(given)
os.environ.update(LISTEN_FDS="{count}", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="{names}")
from rplx.cli.command import main
sys.exit(main(sys.argv[1:]))
"""
CHANNEL = "a"
PATIENCE = 60.0  # seconds
_MESSAGE = re.compile(rb'"ids": \{ "\w+": "([\d.]+)" \},\s+"data": "(\d+)"')


class Systemd:
    """Holds a socket for each of `names`, at addresses of loopback."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=4096) for _ in names]

    def start(self, *arguments: str, names: str = "") -> LiveServer:
        """Starts a server; `names` are told it instead of the sockets' own."""
        given = [sock.fileno() for sock in self.sockets]
        code = LAUNCH.format(given=given, count=len(given), names=names or ":".join(self.names))
        return LiveServer(*arguments, addresses=False, program=("-c", code), pass_fds=given)

    def address(self, name: str) -> tuple[str, int]:
        host, port = self.sockets[self.names.index(name)].getsockname()
        return host, port

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


@dataclass
class Traffic:
    """`failed`: what was refused or cut off, by what it was. `got`: by listener, how often each message came."""

    wait: tuple[str, int]
    in_: tuple[str, int]
    failed: Counter[str] = field(default_factory=Counter)
    acknowledged: set[bytes] = field(default_factory=set)
    slowest: float = 0.0  # seconds of the send that took longest
    got: list[Counter[bytes]] = field(default_factory=list)
    ended: bool = False
    logs: list[str] = field(default_factory=list)  # of the servers that have ended

    async def listen(self, number: int) -> None:
        """Polls until the traffic ends."""
        got = self.got[number]
        cursor = b"1"
        reader: asyncio.StreamReader | None = None
        while not self.ended:
            try:
                if reader is None:
                    reader, writer = await asyncio.open_connection(*self.wait)
                writer.write(b"GET /?identifier=%b:%b HTTP/1.1\r\nHost: h\r\n\r\n" % (cursor, CHANNEL.encode()))
                head, body = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed[f"poll: {error!r}"] += 1
                reader = None
                continue
            if b" 200 OK\r\n" not in head:
                self.failed[f"poll: {head[:40]!r}"] += 1
            for newest, text in _MESSAGE.findall(body):
                cursor = newest
                got[text] += 1
            if b"\r\nConnection: close\r\n" in head:
                writer.close()
                reader = None

    async def send(self, number: int) -> None:
        text = b"%d" % number
        begin = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection(*self.in_)
            head = b"POST / HTTP/1.0\r\nX-Realplexor: identifier=%b\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % (CHANNEL.encode(), len(text) + 2) + b'"%b"' % text)
            answer = await reader.read()
            writer.close()
        except OSError as error:
            self.failed[f"send: {error!r}"] += 1
            return
        if b" 200 OK\r\n" in answer:
            self.acknowledged.add(text)
        else:
            self.failed[f"send: {answer[:40]!r}"] += 1
        self.slowest = max(self.slowest, time.monotonic() - begin)

    async def run(self, listeners: int, rate: float, meanwhile: asyncio.Task[None]) -> None:
        """Runs until `meanwhile` has ended and every send has its answer."""
        self.got = [Counter() for _ in range(listeners)]
        listening = [asyncio.create_task(self.listen(number)) for number in range(listeners)]
        sends = []
        while not meanwhile.done():
            sends.append(asyncio.create_task(self.send(len(sends))))
            await asyncio.sleep(1 / rate)
        await asyncio.wait_for(asyncio.gather(meanwhile, *sends), PATIENCE)
        end = time.monotonic() + PATIENCE
        while not all(got.keys() >= {b"%d" % (len(sends) - 1)} for got in self.got) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        self.ended = True
        for task in listening:
            task.cancel()


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    match = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    return head, await reader.readexactly(int(match[1])) if match else b""


def restarted(
    systemd: Systemd, *arguments: str, times: int = 2, listeners: int = 100, rate: float = 40.0
) -> tuple[Traffic, float]:
    """Restarts a server under traffic. Returns that, and the seconds that the slowest start took."""
    traffic = Traffic(systemd.address("wait"), systemd.address("in"))
    starts = []

    async def goes_on() -> None:
        count = len(traffic.acknowledged)
        while len(traffic.acknowledged) < count + rate:
            await asyncio.sleep(0.05)

    async def restart() -> None:
        server = await asyncio.to_thread(systemd.start, *arguments)
        try:
            for _ in range(times):
                await goes_on()
                assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0, server.log
                traffic.logs += server.log
                begin = time.monotonic()
                server = await asyncio.to_thread(systemd.start, *arguments)
                starts.append(time.monotonic() - begin)
            await goes_on()
        finally:
            restart_ended.append(server)

    restart_ended: list[LiveServer] = []

    async def main() -> None:
        await traffic.run(listeners, rate, asyncio.create_task(restart()))

    try:
        asyncio.run(main())
    finally:
        for server in restart_ended:
            server.stop()
    return traffic, max(starts)
