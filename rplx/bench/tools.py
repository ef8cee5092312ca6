"""Builds the C client and runs it. The sources lie beside this file, so that an installed rplx has them."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rplx.bench.servers import Target
from rplx.errors import RplxError

PROGRAMS = ("load", "publish", "ticker", "floor")
COMPILERS = ("cc", "gcc", "clang")
TICKER_LATE = 3.0  # seconds that a ticker may take beyond its time

Event = dict[str, Any]  # one line of JSON from a program

_SENDERS = itertools.cycle(range(2, 250))  # the part of 127.0.0.0/16 that clients come from, see Target.loopback


class ToolFailed(RplxError):
    """A program of the bench could not be built or ended with an error; the text says which and why."""


@dataclass(frozen=True)
class Crowd:
    """Who listens to what, and how: by `mode` each answer ends its connection (close), or that is kept and polls again
    (keepalive), or it is one of an event stream (stream) or a WebSocket (websocket).

    `messages` are sent one after another to each channel; `history` messages lie in the channels before anybody comes.
    """

    listeners: int
    channels: int = 1
    payload: int = 64
    mode: str = "close"
    messages: int = 1
    history: int = 1
    poll: str | None = None  # template of the request (common.h); None: the target's own
    prefix: str = "c"
    timeout: float = 60.0  # seconds that one step may take


@dataclass(frozen=True)
class Senders:
    """Who sends as fast as it goes. `window` 0: a connection a send; else that many sends under way on one each."""

    publishers: int = 4
    window: int = 0
    seconds: float = 2.0
    channels: int = 1
    payload: int = 64
    prefix: str = "c"
    send: str | None = None  # template of the request; None: an HTTP POST


@dataclass(frozen=True)
class Tools:
    """The built programs."""

    directory: Path

    def listen(self, target: Target, crowd: Crowd, on_event: Callable[[Event], None] | None = None) -> list[Event]:
        """Runs a crowd once (load.c); returns its events. `on_event` is called with each while the crowd waits.

        Raises ToolFailed.
        """
        poll = crowd.poll or target.polls.get(crowd.mode)
        arguments = {
            "-w": target.wait, "-i": target.in_, "-x": target.worker, "-g": crowd.prefix, "-n": crowd.listeners,
            "-c": crowd.channels, "-m": crowd.messages, "-b": crowd.payload, "-y": crowd.history, "-t": crowd.timeout,
            "-M": crowd.mode, "-H": int(target.answers_head), "-S": int(target.half_close),
            "-k": 0, "-a": _sender(target), "-q": poll, "-p": target.send,
        }  # fmt: skip
        with self._start("load", arguments, "-h") as program:
            assert program.stdin is not None
            assert program.stdout is not None
            events = []
            for line in program.stdout:
                events.append(json.loads(line))
                if on_event is not None:
                    on_event(events[-1])
                try:
                    print(file=program.stdin, flush=True)
                except BrokenPipeError:
                    break
            _check(program, "load")
        return events

    def publish(self, target: Target, senders: Senders) -> Event:
        """Sends as fast as the server acknowledges (publish.c); returns the result. Raises ToolFailed."""
        arguments = {
            "-i": target.in_, "-x": target.worker, "-P": senders.publishers, "-W": senders.window,
            "-t": senders.seconds, "-c": senders.channels, "-b": senders.payload, "-g": senders.prefix,
            "-a": _sender(target), "-S": int(target.half_close), "-p": senders.send,
        }  # fmt: skip
        with self._start("publish", arguments) as program:
            return _answer(program, "publish")

    def ticker(self, target: Target, seconds: float, interval_ms: float, channel: str) -> Ticker:
        """Starts the ticker (ticker.c) beside other work; returns it."""
        arguments = {
            "-w": target.wait, "-i": target.in_, "-g": channel, "-e": interval_ms, "-t": seconds,
            "-a": _sender(target),
        }  # fmt: skip
        return Ticker(self._start("ticker", arguments), seconds)

    def _start(self, program: str, arguments: dict[str, object], *flags: str) -> subprocess.Popen[str]:
        given = [text for name, value in arguments.items() if value is not None for text in (name, str(value))]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [str(self.directory / program), *given, *flags], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )


@dataclass(frozen=True)
class Ticker:
    """A ticker under way."""

    program: subprocess.Popen[str]
    seconds: float

    def result(self) -> list[tuple[float, float, float]]:
        """Waits for the end; returns for each tick when it was due (time.monotonic), and the ms until it was
        acknowledged and until it was delivered, -1 if it never was. Raises ToolFailed.
        """
        with self.program as program:
            return [tuple(tick) for tick in _answer(program, "ticker", self.seconds + TICKER_LATE)["ticks"]]

    def stop(self) -> None:
        self.program.kill()
        self.program.communicate()


def _sender(target: Target) -> int:
    return next(_SENDERS) if target.loopback else 0


def _answer(program: subprocess.Popen[str], name: str, timeout: float | None = None) -> Event:
    try:
        output, complaint = program.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        program.kill()
        raise ToolFailed(f"{name} did not end in {timeout:.0f} s") from None
    if program.returncode:
        raise ToolFailed(f"{name}: {complaint.strip()}")
    event: Event = json.loads(output)
    return event


def _check(program: subprocess.Popen[str], name: str) -> None:
    assert program.stderr is not None
    complaint = program.stderr.read().strip()
    if program.wait():
        raise ToolFailed(f"{name}: {complaint}")


def build(directory: Path) -> Tools:
    """Compiles the programs into `directory`; returns them. Raises ToolFailed if there is no compiler or it fails."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise ToolFailed(
            f"no C compiler here (looked for {', '.join(COMPILERS)}): the load client is written in C and built when"
            " it is needed; install one, such as Debian's package gcc with libc6-dev"
        )
    for program in PROGRAMS:
        source = Path(__file__).with_name(f"{program}.c")
        done = subprocess.run(
            [compiler, "-O2", "-o", str(directory / program), str(source)], capture_output=True, text=True
        )
        if done.returncode:
            raise ToolFailed(f"{compiler} cannot build {source.name}:\n{done.stderr.strip()}")
    return Tools(directory)
