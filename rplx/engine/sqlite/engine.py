"""The engine that answers from memory and keeps everything on disk."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from gevent import get_hub

from rplx.engine.cursors import drawn_text
from rplx.engine.observing import Listeners, Observed, Observer
from rplx.engine.sqlite import loading, opening
from rplx.engine.sqlite.address import path_of
from rplx.engine.sqlite.behind import Behind
from rplx.engine.sqlite.schema import CLOCK
from rplx.engine.sqlite.staging import StagedMemory
from rplx.engine.sqlite.store import Store
from rplx.engine.sqlite.trouble import TroubleLog, Troubles
from rplx.engine.sqlite.writer import Writer
from rplx.errors import ConfigError, Unavailable
from rplx.messages import Appended, Due, Event, Message, Send
from rplx.options.table import Config, HistoryOptions, PresenceOptions

START_TIMEOUT = 1.0  # seconds that `open` goes on reading, before the lines accept
LOCK_MARGIN = 2.0  # seconds beyond server.drain in which the process before this one has ended
PRESENCE_DELAY = 0.05  # seconds for which changes of presence are collected
PRESENCE_TIMEOUT = 1.0  # seconds that a question waits for what it tells to be stored
CLOCK_EVERY = 1_000_000  # microseconds, see loading.CLOCK_MARGIN
SHRINK_EVERY = 10.0  # seconds
LOADING = "history is being read from disk"


class SqliteEngine:
    """Implements Engine for one process. Troubles with the disk are logged to `log`."""

    def __init__(self, config: Config, *, log: TroubleLog) -> None:
        self._config = config
        self._log = log
        self._path = path_of(config.engine.url)
        self._observer = Observed()
        loop: Any = get_hub().loop
        self._soon: Any = loop.timer(PRESENCE_DELAY)
        self._is_soon = False
        self._behind = Behind(time.time, self._events_max, self._touched)
        self._memory = StagedMemory(
            config.history, config.presence, wall=time.time, monotonic=time.monotonic, journal=self._behind
        )
        self._troubles = Troubles(self._path, log)
        self._lock: opening.Lock | None = None
        self._db: sqlite3.Connection | None = None  # the writer's, once there is a store
        self._reading: Iterator[None] = iter(())
        self._store: Store | None = None
        self._clock_written = 0
        self._shrunk = 0.0

    # -- the beginning and the end

    def attach(self, observer: Observer) -> None:
        self._observer.attach(observer)
        self._memory.attach(observer)

    def open(self) -> None:
        wait = self._config.server.drain + LOCK_MARGIN
        self._lock = opening.lock(self._path, wait, self._log.message)
        try:
            self._db = opening.connect(self._path, self._config.engine.sync, self._memory.draw())
            self._reading = self._read(self._db)
            deadline = time.monotonic() + START_TIMEOUT
            for _ in self._reading:
                if time.monotonic() >= deadline:
                    return
        except BaseException:
            self.close()
            raise

    def load(self) -> None:
        if self._store is None:
            self._log.message(f"Reading history from {self._path}")
            for _ in self._reading:
                self._observer.rest()
            self._log.message("History is read")

    def _read(self, db: sqlite3.Connection) -> Iterator[None]:
        """Reads the file, a piece at a time, and begins to store behind it. Raises ConfigError."""
        try:
            with opening.explained(self._path):
                seq = yield from loading.read(db, self._memory, time.time())
        except ConfigError:
            raise
        except Exception as error:  # the file holds what no server has written
            raise opening.damaged(self._path, f"{type(error).__name__}: {error}") from None
        self._store = Store(
            lambda done: Writer(db, self._path, done),
            self._memory,
            self._behind,
            self._observer,
            self._troubles,
            seq=seq,
            position=self._memory.position(),
        )

    def close(self) -> None:
        """Returns when all is written and the file is closed."""
        if self._store is not None:
            self._note_clock()
            if not self._store.close():
                return  # the thread may still write, so nobody else must have the file before the process has ended
        elif self._db is not None:
            self._db.close()
        if self._lock is not None:
            self._lock.release()

    def reconfigure(self, history: HistoryOptions, presence: PresenceOptions) -> None:
        self._memory.reconfigure(history, presence)

    def problem(self) -> str:
        return "" if self._store is not None else LOADING

    def _ready(self) -> Store:
        """Returns the store. Raises Unavailable while history is being read."""
        if self._store is None:
            raise Unavailable(f"{LOADING}; try again", closes=False)
        return self._store

    # -- history

    def draw(self) -> str:
        """Returns a position behind which all comes that is on its way."""
        mark = self._ready().mark()
        return self._memory.draw() if mark is None else drawn_text(mark)

    def latest(self) -> Decimal | None:
        return self._memory.latest()

    def append(self, send: Send) -> Appended:
        return self._ready().add(send)

    def due(self, names: Sequence[str], cursors: Sequence[str], limit: int | None = None) -> list[Due]:
        return self._memory.due(names, cursors, limit)

    def gaps(self, names: Sequence[str], cursors: Sequence[str]) -> list[str]:
        return self._memory.gaps(names, cursors)

    def history(self) -> dict[str, list[Message]]:
        self._ready()
        return self._memory.history()

    # -- presence; what is told of it is stored before, so that no crash takes it back

    def join(self, names: Sequence[str]) -> None:
        self._memory.join(names)

    def leave(self, names: Sequence[str], count: int = 1, address: str = "") -> None:
        self._memory.leave(names, count, address)

    def online(self, prefixes: Sequence[str] = ()) -> dict[str, int]:
        self._ready().wait_for_presence(PRESENCE_TIMEOUT)
        return self._memory.online(prefixes)

    def events(self, after: int, prefixes: Sequence[str] = ()) -> list[Event]:
        store = self._ready()
        store.wait_for_presence(PRESENCE_TIMEOUT)
        return self._memory.events_until(after, store.position, prefixes)

    def position(self) -> int:
        store = self._ready()
        store.wait_for_presence(PRESENCE_TIMEOUT)
        return store.position

    def elsewhere(self) -> list[Listeners]:
        return []

    def _events_max(self) -> int:
        return self._memory.events_max

    def _touched(self) -> None:
        """Has changes of presence written soon."""
        if not self._is_soon:
            self._is_soon = True
            self._soon.start(self._write_presence)

    def _write_presence(self) -> None:
        self._is_soon = False
        if self._store is not None:
            self._store.hand_over_soon()

    # -- what time brings

    def sweep(self) -> tuple[list[str], list[str]]:
        if self._store is None:
            return [], []
        found = self._memory.sweep()
        if self._memory.drawn - self._clock_written >= CLOCK_EVERY:
            self._note_clock()
        now = time.monotonic()
        shrinks = now - self._shrunk >= SHRINK_EVERY
        if shrinks:
            self._shrunk = now
        self._store.drain(shrinks=shrinks)
        return found

    def _note_clock(self) -> None:
        self._clock_written = self._memory.drawn
        self._behind.note(CLOCK, self._clock_written)

    def counters(self) -> dict[str, int]:
        return self._memory.counters()
