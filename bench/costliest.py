"""`python -m bench.costliest [--write] [--redis URL]`: how long the costliest request of each kind holds the loop.

Every request is at the limits of the default configuration. Prints the table; --write also puts it into
docs/performance.md. Exit status 1: one held the loop for longer than HELD_MAX.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice, product

from bench import document
from rplx.system.limits import raise_descriptor_limit
from tests.lines import wire as lines
from tests.lines.wire import Conversation, Wire, http
from tests.live import LiveServer
from tests.waiting import eventually

HELD_MAX = 0.020  # seconds
EVENTS = 2_900  # of 3,003 that WATCH remembers: the channels that were polled by then
LISTENERS, CHANNELS = 300, 500  # that wait while the requests come, each listener with so many channels
PATIENCE = 120.0


class Measured:
    """A server, and how long its loop was held by what was just done."""

    def __init__(self, server: LiveServer) -> None:
        self.wire = Wire(server)
        found = server.wait_for(r"held: (\S+):(\d+)")
        self._address = (found[1], int(found[2]))

    def held(self) -> float:
        with socket.create_connection(self._address) as asking:
            return float(asking.recv(100))

    def of(self, work: Callable[[Wire], object]) -> float:
        self.held()
        work(self.wire)
        time.sleep(0.3)  # what comes behind the answer
        return self.held()


def ask(wire: Wire, data: bytes) -> bytes:
    """A whole conversation on IN."""
    talk = Conversation(wire.in_, data, end=True)
    talk.sock.settimeout(PATIENCE)
    answer = b""
    while part := talk.sock.recv(1 << 20):
        answer += part
    return answer


def poll(wire: Wire, body: bytes, *, wait: bool = False) -> Conversation:
    target = "/" if wait else "/?position"
    return Conversation(wire.wait, http(f"POST {target} HTTP/1.1\nHost: x", body))


def names(first: int, count: int) -> list[str]:
    return [f"c{number:06}" for number in range(first, first + count)]


def many_prefixes() -> str:
    """As many as a request holds; every id of `names` begins with one of them."""
    others = ["".join(letters) for letters in islice(product("defghijklmnopqrstuvwxyz", repeat=4), 39_000)]
    return " ".join([*[f"c{number:03}" for number in range(1000)], *others])


def events(answer: bytes) -> None:
    """Looks whether it is what was to be measured."""
    assert answer.count(b"\nonline ") >= EVENTS, answer[:200]


def crowd(wire: Wire) -> list[Conversation]:
    """Listeners of neighbouring channels: each channel has many of them."""
    lists = [names(number * 5, CHANNELS) for number in range(LISTENERS)]
    found = [poll(wire, b"identifier=" + ",".join(ids).encode(), wait=True) for ids in lists]
    last = lists[-1][-1]
    eventually(lambda: ask(wire, f"ONLINE {last}\n\n".encode()).endswith(b" 1\n"), True, PATIENCE)
    return found


def fill(wire: Wire) -> None:
    """30 messages in each of 500 channels."""
    ids = ",".join(names(900_000, CHANNELS))
    for _ in range(30):
        for id in ids.split(","):
            ask(wire, f"identifier={id}\n\n1".encode())


def rows(measured: Measured) -> Iterator[tuple[str, float]]:
    wire = measured.wire
    prefixes = many_prefixes()
    waiting = crowd(wire)
    again = ",".join([f"{number}:a" for number in range(9_400)])
    limited = ",".join([f"x{number}" for number in range(2_000)] + [f"*y{number}" for number in range(8_000)])
    many = ",".join([f"new{number}" for number in range(10_000)])
    text = b"[" + b"{}," * 66_000 + b"1]"
    yield (
        "a poll of 64 KB that names one id 9,400 times",
        measured.of(lambda w: poll(w, b"identifier=" + again.encode()).answer()),
    )
    fill(wire)
    history = ",".join([f"1:{id}" for id in names(900_000, CHANNELS)]).encode()
    yield (
        "a poll of 500 channels with 30 messages each",
        measured.of(lambda w: poll(w, b"identifier=" + history).answer()),
    )
    yield (
        "64 such polls at once",
        measured.of(lambda w: [talk.answer() for talk in [poll(w, b"identifier=" + history) for _ in range(64)]]),
    )
    yield "a send of 200 KB of JSON", measured.of(lambda w: ask(w, b"identifier=a\n\n" + text))
    yield "a send to 10,000 channels", measured.of(lambda w: ask(w, f"identifier={many}\n\n1".encode()))
    yield "… once more", measured.of(lambda w: ask(w, f"identifier={many}\n\n1".encode()))
    yield (
        "a send to 2,000 channels with 8,000 limiters",
        measured.of(lambda w: ask(w, f"identifier={limited}\n\n1".encode())),
    )
    yield "ONLINE with 40,000 prefixes", measured.of(lambda w: ask(w, f"ONLINE {prefixes}\n\n".encode()))
    poll(wire, b"identifier=" + ",".join(names(200_000, 500)).encode()).answer()  # the log of events is nearly full
    yield (
        "WATCH with 40,000 prefixes and a full log",
        measured.of(lambda w: events(ask(w, f"WATCH 10 {prefixes}\n\n".encode()))),
    )
    yield f"STATS with {LISTENERS} listeners of {CHANNELS} channels", measured.of(lambda w: ask(w, b"STATS\n\n"))
    send = ",".join(names(0, 2_000))
    yield (
        f"a send to 2,000 channels with {LISTENERS} listeners of {CHANNELS} each",
        measured.of(lambda w: (ask(w, f"identifier={send}\n\n1".encode()), [talk.answer() for talk in waiting])),
    )
    for talk in waiting:
        talk.close()
    waiting = crowd(wire)

    def leave(w: Wire) -> None:
        for talk in waiting:
            talk.close()

    yield f"{LISTENERS} listeners of {CHANNELS} channels that hang up at once", measured.of(leave)


def grace(measured: Measured) -> Iterator[tuple[str, float]]:
    for number in range(600):
        poll(measured.wire, b"identifier=" + ",".join(names(number * 500, 500)).encode()).answer()
    yield "ONLINE of 300,000 ids", measured.of(lambda w: ask(w, b"ONLINE\n\n"))
    yield (
        "300,000 ids that are offline all at once",
        measured.of(
            lambda w: eventually(lambda: ask(w, b"ONLINE c000000 c299999\n\n").endswith(b"\r\n\r\n"), True, PATIENCE)
        ),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.costliest", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--redis", default="", metavar="URL", help="measure with the engine in Redis")
    args = parser.parse_args()
    raise_descriptor_limit()
    lines.PATIENCE = PATIENCE  # for the first of many answers that are written in turns
    engine = ("--set", f"engine.url={args.redis}") if args.redis else ()
    found: list[tuple[str, float]] = []
    for work, options in ((rows, ()), (grace, ("--set", "presence.offline_timeout=15"))):
        with LiveServer(*engine, *options, program=("-m", "bench.held")) as server:
            for row in work(Measured(server)):
                found.append(row)
                print(f"{row[0]:75} {row[1] * 1000:8.1f} ms", flush=True)
    table = document.markdown_table(
        ["the costliest of its kind", "longest turn of the loop, CPU ms"],
        [[name, f"{held * 1000:.1f}"] for name, held in found],
    )
    if args.write:
        document.write(document.Section("costliest-redis" if args.redis else "costliest", table))
    return 1 if max(held for _, held in found) > HELD_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
