"""The WAIT line with honest and hostile connections, interleaved at random: every honest answer is right."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from functools import cache

import gevent

from rplx.engine.memory import MemoryEngine
from rplx.hub.hub import Hub
from rplx.log import Log
from rplx.messages import Identifiers, Send
from rplx.options.table import Config
from rplx.wait_line.application import Application
from rplx.wait_line.server import WaitServer
from tests.fuzz.inputs import plain, repeated
from tests.lines.wire import blocks

SIZE = 32768  # bytes that the hostile ones send, all together
SLOWEST = 0.5
HOSTILE_MAX = 4  # open at once
PIECES = (1, 1, 2, 7, 40)  # that their bytes are cut into
HONEST = 3  # kept connections that poll all the time
TURNS_MAX = 200  # of the loop until an answer has to be there

_FORMS = (
    b"GET /?identifier=1:%b HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 16\r\n\r\nidentifier=1:%b\n",
    b"GET /?identifier=1:%b HTTP/1.1\r\nHost: h\r\nX-Long: " + b"x" * 300 + b"\r\n\r\n",
)


def seeds() -> Iterator[bytes]:
    position = b"GET /?identifier=a&position HTTP/1.1\r\nHost: h\r\n\r\n"
    eats = b"GET /?identifier=evil HTTP/1.1\r\nX-Eat: "
    long = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: %b\r\n\r\n" % (b"x" * 5200)
    hostile = (
        position * 17 + eats,
        long + eats,
        position + eats,
        b"POST x\n%2c%2c",
        b"\x16\x03\x01",
        eats,
        b"a" * 6000,
    )
    for number, data in enumerate(hostile):
        for seed in range(4):
            yield plain(bytes([number, seed]) + data)
    yield repeated(b"\0\0" + position)
    yield repeated(b"\0\0\r\n")


@cache
def server() -> WaitServer:
    """One for all inputs, with a message for each honest client; it accepts nowhere."""
    config = Config()
    log = Log(0)
    hub = Hub(MemoryEngine(config.history, config.presence, wall=time.time, monotonic=time.monotonic), log)
    for name in (*(f"h{number}" for number in range(HONEST)), "evil"):
        hub.publish(Send(Identifiers({name: "5"}), f'"{name}"'.encode()))
    lines = WaitServer(Application(hub, config, log), hub, config, log)
    lines.start([])
    return lines


class Client:
    """One end of a connection of which the server has the other."""

    def __init__(self, number: int) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        theirs.setblocking(False)
        in_loop(server().opened, [(theirs.detach(), ("127.0.0.1", number))], socket.AF_UNIX)

    def send(self, data: bytes) -> None:
        try:
            self.sock.send(data)
        except OSError:  # the server has had enough of it
            pass

    def came(self) -> bytes:
        try:
            return self.sock.recv(1 << 20)
        except OSError:
            return b""


class Honest(Client):
    """A kept connection. Its polls are answered at once, with its own message and nothing else."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        name = f"h{number}"
        self.name = name.encode()
        self.right = b" \r\n" + blocks(({name: "5"}, f'"{name}"'))
        self.rest: bytes | None = None  # of the poll that it has begun

    def act(self, chance: random.Random) -> None:
        """Sends a poll or its first part; the next time the rest, and looks at the answer."""
        if self.rest is None:
            data = chance.choice(_FORMS) % self.name
            cut = chance.choice((len(data), chance.randrange(1, len(data))))
            self.send(data[:cut])
            self.rest = data[cut:]
        else:
            self.send(self.rest)
            self.rest = None
            self._check_answer()

    def _check_answer(self) -> None:
        answer = b""
        for _ in range(TURNS_MAX):
            turn()
            answer += self.came()
            if answer.endswith(self.right):
                break
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        assert body == self.right, answer


def in_loop(function: Callable[..., None], *arguments: object) -> None:
    """The server's code runs in the loop's own greenlet; this comes back when it has."""
    gevent.get_hub().loop.run_callback(function, *arguments)
    gevent.sleep(0)


def turn() -> None:
    in_loop(server().look)


def attack(hostile: list[Client], data: bytes, chance: random.Random) -> None:
    """One of the hostile ones sends `data`; they come and go as they like."""
    if not hostile or (len(hostile) < HOSTILE_MAX and chance.random() < 0.3):
        hostile.append(Client(HONEST + 1))
    client = chance.choice(hostile)
    client.send(data)
    client.came()
    if chance.random() < 0.1:
        with contextlib.suppress(OSError):
            client.sock.shutdown(socket.SHUT_WR)
    if chance.random() < 0.1:
        hostile.remove(client)
        client.sock.close()


def check(data: bytes) -> None:
    chance = random.Random(data[:2])
    data = data[2:]
    lines = server()
    lines.configure(Config())  # nothing is left of another input
    honest = [Honest(number) for number in range(HONEST)]
    hostile: list[Client] = []
    size = max(1, len(data) // chance.choice(PIECES))
    for begin in range(0, len(data), size):
        attack(hostile, data[begin : begin + size], chance)
        if chance.random() < 0.5:
            turn()
        place = chance.randrange(HONEST)
        honest[place].act(chance)
        if chance.random() < 0.3 and honest[place].rest is None:  # a new one in its place
            honest[place].sock.close()
            honest[place] = Honest(place)
    for one in honest:
        one.act(chance)
        if one.rest is not None:
            one.act(chance)
        one.sock.close()
    for client in hostile:
        client.sock.close()
    for _ in range(TURNS_MAX):
        turn()
        if not lines.accepted:
            return
    raise AssertionError(f"{lines.accepted} connections are left")
