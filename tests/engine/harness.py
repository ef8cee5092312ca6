"""Engines for tests: each as a server makes it, on real clocks, with what it announced."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from rplx.engine.memory import MemoryEngine
from rplx.engine.redis import call, engine, follower
from rplx.engine.redis.engine import RedisEngine
from rplx.engine.sqlite.engine import SqliteEngine
from rplx.log import INFO, Log
from rplx.messages import Identifiers, Send
from rplx.options.rows import replace
from rplx.options.table import Config
from tests import waiting
from tests.engine.observer import Recorder

PATIENCE = 30.0  # seconds
# A cluster, or a Redis that comes back, may take longer than a server of ours.
eventually = functools.partial(waiting.eventually, timeout=120)


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has senders and polls wait for what a Redis on a busy machine answers late."""
    monkeypatch.setattr(follower, "LOOK_TIMEOUT", PATIENCE)
    monkeypatch.setattr(engine, "CALL_TIMEOUT", PATIENCE)
    _, again = call.Call.__init__.__defaults__ or ()
    monkeypatch.setattr(call.Call.__init__, "__defaults__", (PATIENCE, again))


class Lines(Log):
    """A log whose lines come to a list."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._kept = lines

    def message(self, text: str, priority: int = INFO) -> None:
        self._kept.append(text)


class Tested:
    """`engine` and what it announced. Keyword arguments are options, `history__max_messages=3`."""

    __test__ = False

    def __init__(self, url: str = "memory:", **options: Any) -> None:
        values = {name.replace("__", "."): value for name, value in options.items()}
        config = replace(Config(), {"engine.url": url, **values})
        self.log: list[str] = []
        self.engine: Any
        if url == "memory:":
            self.engine = MemoryEngine(config.history, config.presence, wall=time.time, monotonic=time.monotonic)
        elif url.startswith("sqlite:"):
            self.engine = SqliteEngine(config, log=Lines(self.log))
        else:
            self.engine = RedisEngine(config, log=Lines(self.log))
            self.engine.start()
        self.observer = Recorder()
        self.sent = self.observer.sent
        self.recalled = self.observer.recalled
        self.engine.attach(self.observer)
        self.engine.open()
        self.engine.load()

    def close(self) -> None:
        close = getattr(self.engine, "close", None)
        if close is not None:
            close()

    def send(self, data: str, *ids: str, limiters: Sequence[str] = (), **cursors: str) -> dict[str, str]:
        """Sends to the channels `ids`, and to those named by keyword at the cursors given there."""
        given: dict[str, str | None] = {**dict.fromkeys(ids), **cursors}
        send = Send(Identifiers(given, dict.fromkeys(limiters)), data.encode())
        receipt: dict[str, str] = self.engine.append(send).receipt()
        return receipt

    def enter(self, *ids: str) -> str:
        """A listener enters now, as the hub lets it: it joins, then looks. Gives its position."""
        position: str = self.engine.draw()
        self.engine.join(ids)
        self.engine.due(ids, [position] * len(ids))
        return position

    def texts(self, **cursors: str) -> list[str]:
        """What is due to a listener of these channels at these cursors, in the order of cursors."""
        names = tuple(sorted(cursors))
        dues = self.engine.due(names, tuple(cursors[name] for name in names))
        dues.sort(key=lambda due: due.value)
        return [due.message.data.decode() for due in dues]

    def gaps(self, **cursors: str) -> list[str]:
        names = tuple(sorted(cursors))
        found: list[str] = self.engine.gaps(names, tuple(cursors[name] for name in names))
        return found

    def announced(self) -> list[str]:
        return [message.data.decode() for message in self.sent]

    def shown(self, after: int = 10, prefixes: Sequence[str] = ()) -> list[str]:
        return [f"{event.kind} {event.position}:{event.id}" for event in self.engine.events(after, prefixes)]


class Stalls:
    """How long this machine has held up a thread that only sleeps, while the block runs: `seconds`.

    A loop that blocks holds it up as little as an idle one, so what this subtracts is the machine's share alone.
    """

    STEP = 0.01

    def __init__(self) -> None:
        self.seconds = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._done.is_set():
            begin = time.monotonic()
            time.sleep(self.STEP)
            self.seconds += time.monotonic() - begin - self.STEP

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()


Make = Callable[..., Tested]
"""Makes engines that share one store of their own: `make(history__max_messages=3)`."""
